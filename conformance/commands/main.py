"""All commands: the module of each, which registers it with `main`, and its line in the help."""

from conformance.commands.command import main

__all__ = ["main"]

HERE = "conformance.commands"

main.where = {
    "activation": (f"{HERE}.activation.cli", "Is this the derivative of σ, on all floats?"),
    "audit": (f"{HERE}.audit.cli", "Does every equation of these course notes hold?"),
    "diff": (f"{HERE}.diff.cli", "What is better or worse between two results?"),
    "faults": (f"{HERE}.faults.cli", "Plant every known mistake and see it caught."),
    "function": (f"{HERE}.function.cli", "Is this hand-written gradient that of the function?"),
    "fuzz": (f"{HERE}.fuzz.cli", "Draw networks until one deviates, and shrink it."),
    "grade": (f"{HERE}.grading.cli", "Grade a student's forward and backward pass."),
    "handout": (f"{HERE}.handout.cli", "Work an example out, step by step."),
    "list": (f"{HERE}.run", "What there is: implementations, profiles, cases."),
    "merge": (f"{HERE}.run", "Put the parts of a run together (run --shard)."),
    "module": (f"{HERE}.module.cli", "Are all gradients of this torch or JAX network right?"),
    "report": (f"{HERE}.run", "Write the HTML report of results again."),
    "run": (f"{HERE}.run", "Judge implementations on networks of a profile."),
    "show": (f"{HERE}.run", "Every layer's error against its tolerance, of a case."),
    "vectors": (f"{HERE}.vectors.cli", "Test vectors: problems with their certified truth."),
    "wire": (f"{HERE}.wire.cli", "Find a network's convention and write its glue."),
}
