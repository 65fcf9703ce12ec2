"""RunningDashboard — a server as other processes of its user find it: by the lock of its directory."""

__all__ = ["LOCK_FILE", "SITE_FILE", "RunningDashboard", "find_running"]

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import orjson

LOCK_FILE, SITE_FILE = "lock", "site.json"


@dataclass(frozen=True, slots=True)
class RunningDashboard:
    """A running server: the address of its page, and its directory."""

    url: str
    directory: Path

    def link(self, key: str) -> str:
        """Returns the link with a key, in the fragment: a browser sends it to no server and in no Referer."""
        return f"{self.url}#k={key}"


def find_running(directory: Path, port: int) -> RunningDashboard | None:
    """Returns the server of this user on a port; None if there is none.

    Args:
        directory: that of all dashboards.
        port: the port.
    """
    own = directory / str(port)
    try:
        descriptor = os.open(own / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return RunningDashboard(orjson.loads((own / SITE_FILE).read_bytes())["url"], own)
    finally:
        os.close(descriptor)
    return None
