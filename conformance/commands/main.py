"""All commands: each registers itself with `main` when its `cli.py` is imported."""

# ruff: noqa: F401
from conformance.commands import run
from conformance.commands.activation import cli as activation
from conformance.commands.audit import cli as audit
from conformance.commands.command import main
from conformance.commands.diff import cli as diff
from conformance.commands.faults import cli as faults
from conformance.commands.function import cli as function
from conformance.commands.fuzz import cli as fuzz
from conformance.commands.grading import cli as grade
from conformance.commands.handout import cli as handout
from conformance.commands.module import cli as module
from conformance.commands.vectors import cli as vectors
from conformance.commands.wire import cli as wire

__all__ = ["main"]
