"""Address — locates the daemon, and records every place that was tried.

Order: the program's argument, MAILROOM_ADDRESS, the socket in XDG_RUNTIME_DIR, the daemon's `addresses` file, the
socket in the state directory. MAILROOM_STATE_DIR selects one daemon, so only that directory is searched. A socket
counts only if a process listens on it: a stale socket must not hide a running daemon. Whether the listener is the
daemon is for the transport to find out. Paths are interpreted as the daemon interprets them.
"""

__all__ = ["Address", "expand_home", "find_daemon", "running_daemon_pid", "state_directory"]

import errno
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

from mailroom.errors import InvalidArgument
from mailroom.home import NO_HOME
from mailroom.state_lock import read_state_lock

SOCKET_NAME = "mailroom.sock"
ADDRESSES_NAME = "addresses"  # JSON list of "unix:PATH" and "HOST:PORT", written by the daemon

MAX_SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path without its final NUL (unix(7))

_REFUSED = os.strerror(errno.ECONNREFUSED).lower()
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Address:
    """One place to connect to.

    Attributes:
        text: `unix:PATH` or `HOST:PORT`.
        tried: each place that was tried, with what was wrong there, for error messages.
    """

    text: str
    tried: tuple[str, ...] = ()

    @property
    def socket_path(self) -> Path | None:
        """The Unix socket's path, or None for TCP."""
        return Path(self.text.removeprefix("unix:")) if self.text.startswith("unix:") else None

    @property
    def grpc_target(self) -> str:
        """The address as a gRPC target: a URI, in which special characters of a path are percent-encoded."""
        path = self.socket_path
        return self.text if path is None else f"unix:{quote(str(path))}"


def find_daemon(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> Address:
    """Returns the daemon's address. If no daemon is found, this is the address where it would most likely appear.

    Args:
        explicit: `unix:PATH`, an absolute path, or `HOST:PORT`.
        environ: the environment variables.

    Raises:
        InvalidArgument: a given address or path is malformed.
    """
    if explicit:
        return Address(_normalized(explicit, "address"))
    if given := environ.get("MAILROOM_ADDRESS"):
        return Address(_normalized(given, "MAILROOM_ADDRESS"), ("MAILROOM_ADDRESS",))
    return _search(environ)


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns the daemon's state directory: MAILROOM_STATE_DIR, or `mailroom` below XDG_STATE_HOME.

    Raises:
        InvalidArgument: MAILROOM_STATE_DIR is not a valid path, or there is no home directory for the default.
    """
    if given := environ.get("MAILROOM_STATE_DIR"):
        try:
            return _as_path(given)
        except ValueError as error:
            raise InvalidArgument(
                f"MAILROOM_STATE_DIR: {given!r} is not a valid path: {error}", reason="ADDRESS_INVALID"
            ) from error
    base = environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else _home() / ".local" / "state") / "mailroom"


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Returns a path with a leading `~` expanded.

    Raises:
        InvalidArgument: there is no home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        home = os.fspath(path).partition("/")[0]
        why = NO_HOME if home == "~" else f"there is no home directory {home}"
        raise InvalidArgument(f"{why}. {path} needs one.", reason="HOME_MISSING") from None


def running_daemon_pid(address: Address, environ: Mapping[str, str] = os.environ) -> int | None:
    """Returns the process id of the daemon that listens, or should listen, at an address.

    It is known if the daemon holds the lock of this user's state directory and has published the address there. That
    tells a daemon whose socket was removed from a daemon that is not running.
    """
    try:
        state_dir = state_directory(environ)
        lock = read_state_lock(state_dir)
        published = json.loads((state_dir / ADDRESSES_NAME).read_bytes()) if lock.is_held else None
    except (OSError, ValueError, InvalidArgument):
        return None
    return lock.pid if isinstance(published, list) and address.text in published else None


def _search(environ: Mapping[str, str]) -> Address:
    state_dir = state_directory(environ)
    tried: list[str] = []
    stale: list[str] = []  # where a daemon listened before, and will most likely listen again

    def try_socket(path: Path) -> str | None:
        error = _connect_error(path)
        tried.append(f"{path} ({error})" if error else str(path))
        if error == _REFUSED:
            stale.append(f"unix:{path}")
        return None if error else f"unix:{path}"

    def try_address_file() -> str | None:
        errors, summary = _read_address_file(state_dir / ADDRESSES_NAME)
        tried.append(summary)
        stale.extend(errors)
        live = [text for text, error in errors.items() if not error]
        return next(iter([text for text in live if text.startswith("unix:")] or live), None)

    own_socket = state_dir / SOCKET_NAME
    runtime_dir = "" if environ.get("MAILROOM_STATE_DIR") else environ.get("XDG_RUNTIME_DIR", "")
    address = try_socket(Path(runtime_dir) / "mailroom" / SOCKET_NAME) if runtime_dir.startswith("/") else None
    address = address or try_address_file() or try_socket(own_socket)
    if address is None and not stale:
        address = _normalized(f"unix:{own_socket}", "the state directory's socket")
    return Address(address or stale[0], tuple(tried))


def _read_address_file(file: Path) -> tuple[dict[str, str], str]:
    """Returns the addresses in the daemon's file with the error of each ("" if it can be reached), and a summary."""
    try:
        content = json.loads(file.read_bytes())
        addresses = [_normalized(item, str(file)) for item in cast("list[object]", content) if isinstance(item, str)]
    except OSError as error:
        return {}, f"{file} ({_error_text(error)})"
    except (ValueError, TypeError, InvalidArgument):
        return {}, f"{file} (not a JSON list of addresses)"
    errors = {text: _connect_error(path) if (path := Address(text).socket_path) else "" for text in addresses}
    summaries = [f"{text}: {error}" if error else text for text, error in errors.items()]
    return errors, f"{file} ({', '.join(summaries) or 'empty'})"


def _connect_error(path: Path) -> str:
    """Returns why no process can be reached on a Unix socket, "" if one listens. Never waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # a process listens, but its backlog is full
            return ""
        except OSError as error:
            return _error_text(error)
    return ""


def _error_text(error: OSError) -> str:
    return (error.strerror or str(error)).lower()  # Python's own error for an overlong path has no strerror


def _normalized(text: str, source: str) -> str:
    path = text if text.startswith(("/", "~")) else text.removeprefix("unix:") if text.startswith("unix:") else ""
    try:
        if path:
            return f"unix:{_check_length(_as_path('/' + path.lstrip('/') if path.startswith('//') else path))}"
        if _HOST_AND_PORT.fullmatch(text):
            return text
        detail = ""
    except ValueError as error:
        detail = f" ({error})"
    raise InvalidArgument(
        f"{source}: {text!r} is not a valid address{detail}; use unix:PATH or HOST:PORT",
        reason="ADDRESS_INVALID",
        field="address",
    )


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # HOME is not set, and the user has no account
        raise InvalidArgument(
            "there is no home directory to look for the daemon in: set MAILROOM_ADDRESS, MAILROOM_STATE_DIR or HOME",
            reason="ADDRESS_INVALID",
            field="address",
        ) from error


def _check_length(path: Path) -> Path:
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"the path has {size} bytes, a socket's path at most {MAX_SOCKET_PATH_BYTES}")
    return path


def _as_path(text: str) -> Path:
    """Interprets a path as the daemon does: `~` is the home directory; a relative path starts at the current one."""
    if "\0" in text:
        raise ValueError("a path cannot contain NUL")
    try:
        return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - Path.absolute keeps '..'
    except RuntimeError as error:  # `~name` of an unknown user
        raise ValueError("no such home directory") from error
