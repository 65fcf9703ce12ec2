"""Address — where the daemon is, and where it was looked for.

Order: what the program says, MAILROOM_ADDRESS, the socket in XDG_RUNTIME_DIR, the daemon's `addresses` file, the
socket in the state directory. Looks at the file system only; whether somebody answers there is for the transport.
"""

__all__ = ["Address", "find_daemon", "state_directory"]

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

from mailroom.errors import InvalidArgument

SOCKET_NAME = "mailroom.sock"
ADDRESSES_NAME = "addresses"  # JSON list of "unix:PATH" and "HOST:PORT", written by the daemon

_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Address:
    """One place to connect to.

    Attributes:
        text: `unix:PATH` or `HOST:PORT`.
        tried: each place that was looked at on the way, with what was found, for error sentences.
    """

    text: str
    tried: tuple[str, ...] = ()

    @property
    def socket_path(self) -> Path | None:
        """The Unix socket's path, or None for TCP."""
        return Path(self.text.removeprefix("unix:")) if self.text.startswith("unix:") else None

    @property
    def grpc_target(self) -> str:
        """The address as gRPC spells it: a URI, so that odd characters in a path are quoted."""
        path = self.socket_path
        return self.text if path is None else f"unix:{quote(str(path))}"


def find_daemon(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> Address:
    """Returns where the daemon should be; when nothing hints at one, the last place it would be at.

    Args:
        explicit: `unix:PATH`, an absolute path, or `HOST:PORT`.
        environ: for tests.

    Raises:
        InvalidArgument: an address that was given is none.
    """
    if explicit:
        return Address(_normalised(explicit, "the address"))
    if given := environ.get("MAILROOM_ADDRESS"):
        return Address(_normalised(given, "MAILROOM_ADDRESS"), ("MAILROOM_ADDRESS",))
    return _search(environ)


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns the directory where the daemon keeps its state."""
    if given := environ.get("MAILROOM_STATE_DIR"):
        return Path(given)
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "mailroom"


def _search(environ: Mapping[str, str]) -> Address:
    tried: list[str] = []
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        socket = Path(runtime) / "mailroom" / SOCKET_NAME
        if _exists(socket):
            return Address(f"unix:{socket}", (str(socket),))
        tried.append(f"{socket} (no such file)")
    state_dir = state_directory(environ)
    announced, finding = _announced(state_dir / ADDRESSES_NAME)
    tried.append(finding)
    if announced:
        return Address(announced, tuple(tried))
    socket = state_dir / SOCKET_NAME
    tried.append(str(socket) if _exists(socket) else f"{socket} (no such file)")
    return Address(f"unix:{socket}", tuple(tried))


def _announced(file: Path) -> tuple[str | None, str]:
    """Returns the best address in the daemon's own file: a socket that exists, else the first; and what was found."""
    try:
        listed = json.loads(file.read_bytes())
        addresses = [_normalised(item, str(file)) for item in cast("list[object]", listed) if isinstance(item, str)]
    except OSError as error:
        return None, f"{file} ({(error.strerror or 'unreadable').lower()})"
    except (ValueError, TypeError, InvalidArgument):
        return None, f"{file} (not a JSON list of addresses)"
    sockets = [text for text in addresses if (path := Address(text).socket_path) and _exists(path)]
    best = next(iter(sockets or addresses), None)
    return best, f"{file} ({best})" if best else f"{file} (empty)"


def _normalised(text: str, source: str) -> str:
    if text.startswith("/"):
        return f"unix:{text}"
    if text.startswith("unix:") and (path := text.removeprefix("unix:")):
        return f"unix:{Path('/' + path.lstrip('/')) if path.startswith('//') else Path(path).expanduser().absolute()}"
    if _HOST_AND_PORT.fullmatch(text):
        return text
    raise InvalidArgument(
        f"{source}: {text!r} is no address: give unix:PATH or HOST:PORT", reason="ADDRESS_INVALID", field="address"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a directory on the way that may not be entered
        return False
