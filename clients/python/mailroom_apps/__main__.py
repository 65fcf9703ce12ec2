"""Entry point of the command `mailroom`; imports nothing that is slow before it is known to be needed.

A hook runs at every tool call of every agent, so it is dispatched here, before the command line's framework. The
doorbell is, too: for both of them an exit code of 2 has a meaning that the framework does not know.
"""

import sys


def main() -> int:
    """Runs the command line and returns its exit code."""
    if None in (sys.stdin, sys.stdout, sys.stderr):  # closed; the check alone costs nothing
        from mailroom.descriptors import reserve_standard_descriptors

        reserve_standard_descriptors()
    try:
        match sys.argv[1:]:
            case [("hook" | "doorbell"), *arguments] if {"-h", "--help"}.isdisjoint(arguments):
                return _run_quickly(sys.argv[1], arguments)
            case _:
                from mailroom_apps.cli.app import run

                return run()
    except KeyboardInterrupt:
        return 130


def _run_quickly(name: str, arguments: list[str]) -> int:
    if name == "hook":
        from mailroom_apps.hooks import command
    else:
        from mailroom_apps.hooks import doorbell as command
    return command.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
