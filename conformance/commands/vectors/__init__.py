"""Test vectors: cases with their certified truth, as files for implementations in any language.

`export` writes them, and `check` judges a program's answers. docs/vectors.md describes the format, and
schema/ defines it.
"""
