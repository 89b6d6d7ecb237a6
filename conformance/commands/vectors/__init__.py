"""Test vectors: cases with their certified truth as files, for implementations in any language.

`export` writes them, `check` judges what somebody's program answered. docs/vectors.md describes the
format, schema/ defines it.
"""
