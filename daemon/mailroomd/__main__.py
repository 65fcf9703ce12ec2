"""mailroomd's door. Spawned workers import it again, so it imports nothing until it is asked to run."""


def main() -> int:
    """Runs the command line of the daemon."""
    from mailroomd.cli.main import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
