"""Entry point of the command `mailroom`; imports nothing that is slow before it is known to be needed."""

import sys


def main() -> int:
    """Runs the command line and returns its exit code."""
    try:
        from mailroom.cli.app import run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
