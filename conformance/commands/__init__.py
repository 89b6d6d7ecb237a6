"""The commands, one folder each: `cli.py` defines the command line, the other modules do the work."""
