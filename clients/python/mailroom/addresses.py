"""Address — where the daemon is, and where it was looked for.

Order: what the program says, MAILROOM_ADDRESS, the socket in XDG_RUNTIME_DIR, the daemon's `addresses` file, the
socket in the state directory. A MAILROOM_STATE_DIR names one daemon: then only its directory is looked at.
A socket counts when somebody listens on it, since one that was left behind must not hide the daemon; whether it is the
daemon who answers there is for the transport. Paths are read as the daemon reads them.
"""

__all__ = ["Address", "expand_home", "find_daemon", "state_directory"]

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
from mailroom.home import NO_HOME, home_directory

SOCKET_NAME = "mailroom.sock"
ADDRESSES_NAME = "addresses"  # JSON list of "unix:PATH" and "HOST:PORT", written by the daemon

_NOBODY_LISTENS = os.strerror(errno.ECONNREFUSED).lower()
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
        InvalidArgument: an address or a path that was given is none.
    """
    if explicit:
        return Address(_normalised(explicit, "the address"))
    if given := environ.get("MAILROOM_ADDRESS"):
        return Address(_normalised(given, "MAILROOM_ADDRESS"), ("MAILROOM_ADDRESS",))
    return _search(environ)


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns the directory where the daemon keeps its state.

    Raises:
        InvalidArgument: MAILROOM_STATE_DIR is no path, or there is no home directory for the default.
    """
    if given := environ.get("MAILROOM_STATE_DIR"):
        try:
            return _as_path(given)
        except ValueError as error:
            raise InvalidArgument(
                f"MAILROOM_STATE_DIR: {given!r} is no path ({error})", reason="ADDRESS_INVALID"
            ) from error
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "mailroom"
    home = home_directory()
    if home is None:
        sentence = f"{NO_HOME}. Set MAILROOM_STATE_DIR, or MAILROOM_ADDRESS to reach a daemon."
        raise InvalidArgument(sentence, reason="ADDRESS_INVALID")
    return home / ".local" / "state" / "mailroom"


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


def _search(environ: Mapping[str, str]) -> Address:
    state_dir = state_directory(environ)
    tried: list[str] = []
    left_behind: list[str] = []  # where a daemon was, and is most likely to come back

    def try_socket(path: Path) -> str | None:
        fault = _fault(path)
        tried.append(f"{path} ({fault})" if fault else str(path))
        if fault == _NOBODY_LISTENS:
            left_behind.append(f"unix:{path}")
        return None if fault else f"unix:{path}"

    def try_announced() -> str | None:
        faults, finding = _announced(state_dir / ADDRESSES_NAME)
        tried.append(finding)
        left_behind.extend(faults)
        sound = [text for text, fault in faults.items() if not fault]
        return next(iter([text for text in sound if text.startswith("unix:")] or sound), None)

    own = state_dir / SOCKET_NAME
    runtime = "" if environ.get("MAILROOM_STATE_DIR") else environ.get("XDG_RUNTIME_DIR", "")
    found = try_socket(Path(runtime) / "mailroom" / SOCKET_NAME) if runtime.startswith("/") else None
    found = found or try_announced() or try_socket(own)
    return Address(found or next(iter(left_behind), f"unix:{own}"), tuple(tried))


def _announced(file: Path) -> tuple[dict[str, str], str]:
    """Returns the addresses in the daemon's own file, each with its fault or "", and what was found."""
    try:
        listed = json.loads(file.read_bytes())
        addresses = [_normalised(item, str(file)) for item in cast("list[object]", listed) if isinstance(item, str)]
    except OSError as error:
        return {}, f"{file} ({_said(error)})"
    except (ValueError, TypeError, InvalidArgument):
        return {}, f"{file} (not a JSON list of addresses)"
    faults = {text: _fault(path) if (path := Address(text).socket_path) else "" for text in addresses}
    findings = [f"{text}: {fault}" if fault else text for text, fault in faults.items()]
    return faults, f"{file} ({', '.join(findings) or 'empty'})"


def _fault(path: Path) -> str:
    """Returns why nobody can be reached on a Unix socket, "" when somebody listens. Never waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # somebody listens and has more callers than fit into the queue
            return ""
        except OSError as error:
            return _said(error)
    return ""


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()  # Python's own, for a path that is too long, has no strerror


def _normalised(text: str, source: str) -> str:
    path = text if text.startswith(("/", "~")) else text.removeprefix("unix:") if text.startswith("unix:") else ""
    try:
        if path:
            return f"unix:{_as_path('/' + path.lstrip('/') if path.startswith('//') else path)}"
        if _HOST_AND_PORT.fullmatch(text):
            return text
        fault = ""
    except ValueError as error:
        fault = f" ({error})"
    raise InvalidArgument(
        f"{source}: {text!r} is no address{fault}: give unix:PATH or HOST:PORT",
        reason="ADDRESS_INVALID",
        field="address",
    )


def _as_path(text: str) -> Path:
    """Reads a path as the daemon does: `~` is the home directory, what is relative starts from the current one."""
    if "\0" in text:
        raise ValueError("a path has no NUL")
    try:
        return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - Path.absolute keeps '..'
    except RuntimeError as error:  # of a user who is not there
        raise ValueError("there is no such home directory") from error
    except OSError as error:
        raise ValueError("it is relative, and the current directory was deleted") from error
