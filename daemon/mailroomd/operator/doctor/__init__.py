"""Doctor — looks at everything that a mail room needs on its machine, and says what to do.

One module for each family of checks; each looks by itself and reports `Finding`s. Works while the daemon is down, and
changes nothing unless a finding's fix is applied. Not here: the command line (`mailroom_apps.cli.doctor`); the daemon, whose
files are known here by their names only.
"""

__all__ = ["Finding", "Level", "Places", "examine"]

from collections.abc import Iterator

from mailroomd.operator.doctor import (
    clock,
    copies,
    database,
    directories,
    kernel,
    leftovers,
    locks,
    room,
    service,
    sockets,
)
from mailroomd.operator.doctor.findings import Finding, Level
from mailroomd.operator.places import Places

_FAMILIES = (
    service.check,
    sockets.check,
    directories.check,
    locks.check,
    database.check,
    copies.check,
    leftovers.check,
    room.check,
    kernel.check,
    clock.check,
)


def examine(places: Places) -> Iterator[Finding]:
    """Yields what is found, as it is found."""
    for check in _FAMILIES:
        yield from check(places)
