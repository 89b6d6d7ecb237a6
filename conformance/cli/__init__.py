"""The command line: one file a group of commands; `main` is all of them."""

from conformance.cli import activation, audit, diff, faults, fuzz, grade, handout, run, vectors  # noqa: F401   they register themselves with main
from conformance.cli.command import main

__all__ = ["main"]
