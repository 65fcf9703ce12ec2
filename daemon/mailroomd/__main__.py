"""The entry point of mailroomd. Spawned workers import this module again, so it imports nothing until it runs."""


def main() -> int:
    """Runs the command line of the daemon."""
    from mailroom.descriptors import reserve_standard_descriptors
    from mailroom.inherited_signals import reset_inherited_signals

    reserve_standard_descriptors()
    reset_inherited_signals()
    from mailroomd.cli.main import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
