"""doctor — checks everything that Mailroom needs on its machine, and says what to do.

Each module checks one area and reports `Finding`s. The checks work while the daemon is down, and change nothing unless
the fix of a finding is applied. Not here: the command line (`mailroom_apps.cli.doctor`).
"""

__all__ = ["Finding", "Installation", "Level", "run_checks"]

from collections.abc import Iterator

from mailroomd.operator.doctor import (
    clock,
    configuration,
    daemon,
    database,
    directories,
    disk_space,
    inbox_files,
    inotify,
    locks,
    running_daemon,
    sockets,
    temporary_files,
)
from mailroomd.operator.doctor.finding import Finding, Level
from mailroomd.operator.installation import Installation

_CHECKS = (
    daemon.check,
    running_daemon.check,
    configuration.check,
    sockets.check,
    directories.check,
    locks.check,
    database.check,
    inbox_files.check,
    temporary_files.check,
    disk_space.check,
    inotify.check,
    clock.check,
)


def run_checks(installation: Installation) -> Iterator[Finding]:
    """Yields the findings of every check, each as soon as it is known."""
    for check in _CHECKS:
        yield from check(installation)
