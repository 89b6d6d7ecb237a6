"""The command `conformance`, and python -m conformance."""

from conformance.tools.trouble import ending


def main() -> None:
    """Run what the command line says. Click itself may be missing, and that is exit code 2."""
    with ending():
        from conformance.commands.main import main as commands

    commands(prog_name="conformance")


if __name__ == "__main__":
    main()
