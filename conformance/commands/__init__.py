"""The commands, a folder each: what it does, and `cli.py`, how it is called."""
