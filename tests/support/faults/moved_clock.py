"""MovedClock — a daemon's clock that a test moves: what `time.time` says in all its processes, and nothing else.

Owns the preloaded library (Debian's libfaketime) and the file that it looks into at every call. The monotonic clock
and the files' times stay as they are, as when somebody sets a machine's clock.
"""

__all__ = ["MovedClock"]

from dataclasses import dataclass
from pathlib import Path

import pytest

_PLACES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")


@dataclass(frozen=True)
class MovedClock:
    """A clock; it is right until it is moved.

    Attributes:
        file: tells the library how far it is off.
    """

    file: Path

    def environment(self) -> dict[str, str]:
        """Returns what a process needs to be told by this clock."""
        self.move("+0")
        return {
            "LD_PRELOAD": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
            "NO_FAKE_STAT": "1",
        }

    def move(self, to: str) -> None:
        """Sets it off from the right time: "+1d", "-1h", "+0"."""
        new = self.file.with_suffix(".new")
        new.write_text(to)
        new.rename(self.file)


def _library() -> str:
    found = [path for place in _PLACES for path in Path("/").glob(place[1:])]
    if not found:
        pytest.fail("libfaketime is not there: install Debian's faketime (`make test` does)")
    return str(found[0])
