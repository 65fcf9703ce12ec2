"""doctor — checks everything that Mailroom needs on its machine, and says what to do.

Each module checks one area and reports `Finding`s. The checks work while the daemon is down, and change nothing unless
the fix of a finding is applied. Not here: the command line (`mailroom_apps.cli.doctor`).
"""

__all__ = ["Finding", "Installation", "Level", "run_checks"]

from collections.abc import Iterator

from mailroomd.operator.doctor import (
    backups,
    clock,
    configuration,
    daemon,
    database,
    delayed_files,
    directories,
    disk_space,
    inbox_files,
    inotify,
    limits,
    locks,
    name_case,
    outbox_files,
    rows,
    running_daemon,
    schema,
    sockets,
    team_inboxes,
    temporary_files,
    tls,
    tokens,
    unknown_files,
)
from mailroomd.operator.doctor.finding import Finding, Level, problem
from mailroomd.operator.installation import Installation

_CHECKS = (
    daemon.check,
    running_daemon.check,
    configuration.check,
    sockets.check,
    tls.check,
    tokens.check,
    directories.check,
    name_case.check,
    locks.check,
    database.check,
    schema.check,
    rows.check,
    backups.check,
    inbox_files.check,
    unknown_files.check,
    delayed_files.check,
    outbox_files.check,
    team_inboxes.check,
    temporary_files.check,
    limits.check,
    disk_space.check,
    inotify.check,
    clock.check,
)


def run_checks(installation: Installation) -> Iterator[Finding]:
    """Yields the findings of every check, each as soon as it is known."""
    for check in _CHECKS:
        try:
            yield from check(installation)
        except OSError as error:  # a directory of another user, as a rule
            name = check.__module__.rpartition(".")[2].replace("_", " ")
            summary = f"cannot look at {error.filename or 'it'}: {error.strerror or error}"
            yield problem(name, summary, "correct the path, or run `mailroom doctor` as the daemon's user or as root")
