"""Deliberate mistakes: one row each in `table`, planted in the procedures by `loop`.

They are what the gates are tried on (`matrix`), and what a deviation is compared with
(`conformance.judge.mistakes.diagnosis`).
"""
