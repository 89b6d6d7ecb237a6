"""Deliberate mistakes: one row each in `table`, planted in the procedures by `loop`.

The gates are tried on them (`conformance.commands.faults`), and a deviation is compared with them
(`diagnosis`).
"""
