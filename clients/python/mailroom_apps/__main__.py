"""Entry point of the command `mailroom`. Imports slow modules only when they are needed.

A hook runs at every tool call of every agent, so `hook` and `doorbell` are dispatched here, before the framework of the
command line is imported. Both also give exit code 2 a meaning that differs from the framework's.
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
                return _run_directly(sys.argv[1], arguments)
            case ["mcp", *arguments] if {"-h", "--help"}.isdisjoint(arguments):
                return _serve_mcp(arguments)
            case _:
                from mailroom.inherited_signals import reset_inherited_signals

                from mailroom_apps.cli.app import run

                reset_inherited_signals()
                return run()
    except KeyboardInterrupt:
        return 130


def _serve_mcp(arguments: list[str]) -> int:
    """Runs `mailroom mcp`, and answers its client's first requests meanwhile, unless it serves something special."""

    from importlib import import_module

    from mailroom_apps.mcp.front import can_meet, meet, name_of_agent

    def load() -> None:
        for name in ("mailroom_apps.cli.app", "mailroom_apps.mcp.stdio_server"):
            import_module(name)

    if can_meet(arguments):
        meet(name_of_agent(arguments), load)
    from mailroom.inherited_signals import reset_inherited_signals

    from mailroom_apps.cli.app import run

    reset_inherited_signals()
    return run()


def _run_directly(name: str, arguments: list[str]) -> int:
    if name == "hook":
        from mailroom_apps.hooks import command
    else:
        from mailroom_apps.hooks import doorbell as command
    return command.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
