"""quantities — the notations of settings: parsers from text to value, and back.

Owns durations, sizes, counts, paths, restart intensities and listen addresses. Each parser raises ValueError with the
end of a sentence that starts with the setting's name. It knows no setting; `~` in a path is its only use of the
environment.
"""

__all__ = [
    "MAX_SOCKET_PATH_BYTES",
    "Intensity",
    "as_path",
    "as_path_or_none",
    "at_least",
    "duration_sec",
    "format_value",
    "host_rule",
    "intensity",
    "is_loopback",
    "is_tcp",
    "listen_address",
    "loopback_address",
    "none_or",
    "one_of",
    "size_bytes",
    "trace_target",
    "unix_path",
]

import ipaddress
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MAX_COUNT = (1 << 31) - 1
_MAX_DIGITS = 30  # of a size: more are out of range anyway, and Python refuses to convert thousands of them
_MAX_QUOTED_CHARS = 60
MAX_SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path has 108 with its final NUL (unix(7))


@dataclass(frozen=True, slots=True)
class Intensity:
    """The number of restarts allowed within a period; after one more the supervisor gives up (as in OTP)."""

    restarts: int
    period_sec: float

    def __str__(self) -> str:
        return f"{self.restarts}/{self.period_sec:g}"


def duration_sec(text: str) -> float:
    """Parses `10`, `10s`, `500ms`, `5m`, `24h` or `7d` into seconds, more than 0."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0 or math.isinf(seconds):
        raise ValueError(f"must be a duration like 10s, 500ms or 24h, not {_quoted(text)}")
    return seconds


def size_bytes(minimum: int, maximum: int) -> Callable[[str], int]:
    """Returns a parser for `64MiB`, `65536KiB`, `1GiB` or a plain number of bytes, within the two limits."""

    def parse(text: str) -> int:
        match = re.fullmatch(r"(\d+)\s*(B|KiB|MiB|GiB|)", text.strip())
        if not match:
            raise ValueError(f"must be a size like 64MiB, not {_quoted(text)}")
        value = int(match[1][:_MAX_DIGITS]) * _BYTES[match[2]]
        if not minimum <= value <= maximum:
            raise ValueError(f"must be between {minimum >> 20}MiB and {maximum >> 20}MiB, not {_shortened(text)}")
        return value

    return parse


def at_least(minimum: int) -> Callable[[str], int]:
    """Returns a parser for whole numbers of at least `minimum` and at most 2,147,483,647; `100_000` is accepted."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"must be a whole number, not {_quoted(text)}") from None
        if value < minimum:
            raise ValueError(f"must be at least {minimum}, not {_shortened(text)}")
        if value > _MAX_COUNT:
            raise ValueError(f"must be at most {_MAX_COUNT}, not {_shortened(text)}")
        return value

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Returns a parser that accepts only these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {_quoted(text)}")
        return text

    return parse


def host_rule(text: str) -> str:
    """Parses HOST or HOST=AGENT, where both may hold the wildcards * and ?."""
    host, equals, agent = text.partition("=")
    if re.fullmatch(r"[a-z0-9*?-]+", host) and (re.fullmatch(r"[A-Za-z0-9._@*?-]+", agent) or not equals):
        return text
    raise ValueError(f"must be HOST or HOST=AGENT, such as build* or build7=bob, not {_quoted(text)}")


def as_path(text: str) -> Path:
    """Parses a path: `~` is the home directory, and a relative path starts from the current directory."""
    if not text or "\0" in text:
        raise ValueError(f"must be a path, not {_quoted(text)}")
    try:
        return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - Path.absolute keeps '..'
    except RuntimeError:
        raise ValueError(f"begins with {text.partition('/')[0]!r}, but there is no such home directory") from None
    except OSError:
        raise ValueError(f"must be an absolute path, not {_quoted(text)}: the current directory was deleted") from None


def as_path_or_none(text: str) -> Path | None:
    """Parses a path, or `none`."""
    return None if text == "none" else as_path(text)


def intensity(text: str) -> Intensity:
    """Parses `5/10`: five restarts in ten seconds."""
    restarts, slash, period = text.partition("/")
    try:
        if not slash:
            raise ValueError
        return Intensity(at_least(0)(restarts), duration_sec(period))
    except ValueError:
        raise ValueError(f"must be RESTARTS/SECONDS like 5/10, not {_quoted(text)}") from None


def listen_address(text: str) -> str:
    """Parses `unix:PATH` or `HOST:PORT` (`[::1]:PORT` for IPv6) into its canonical form.

    Port 0 lets the system choose; the daemon announces the port.
    """
    if text.startswith("unix:"):
        return _unix_address(text)
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or (":" in host and not bracketed):
        raise ValueError(f"must be unix:PATH or HOST:PORT ([::1]:PORT for IPv6), not {_quoted(text)}")
    if int(port) > 65535:
        raise ValueError(f"has port {port} in {_quoted(text)}; the highest port is 65535")
    return f"{host}:{int(port)}"


def loopback_address(text: str) -> str:
    """Parses a `HOST:PORT` that only this machine can reach."""
    if text.startswith("unix:"):
        raise ValueError(f"must be HOST:PORT, not {_quoted(text)}")
    address = listen_address(text)
    if not is_loopback(address):
        raise ValueError(f"must be on loopback (127.0.0.1, [::1], localhost), not {_shortened(text)}")
    return address


def trace_target(text: str) -> str:
    """Parses `http://HOST:PORT/v1/traces`, `https://...` or `file:PATH`."""
    if text.startswith("file:"):
        return f"file:{as_path(text.removeprefix('file:'))}"
    if not re.match(r"https?://[^/\s]+/", text):
        raise ValueError(f"must be file:PATH or a URL like http://127.0.0.1:4318/v1/traces, not {_quoted(text)}")
    return text


def none_or(parse: Callable[[str], Value], nothing: Value) -> Callable[[str], Value]:
    """Returns a parser that also accepts `none`, as `nothing`."""

    def parse_or_none(text: str) -> Value:
        return nothing if text == "none" else parse(text)

    return parse_or_none


def format_value(value: object, field: str) -> str:
    """Formats a value as its parser accepts it; the unit is at the end of the field's name."""
    if value in ("", None) or (field.endswith("_bytes") and not value):
        return "none"
    if field.endswith("_sec") and not field.endswith("_per_sec") and isinstance(value, (int, float)):
        unit = next((unit for unit in ("d", "h", "m") if value % _SECONDS[unit] == 0), "s")
        return f"{value / _SECONDS[unit]:g}{unit}"
    if field.endswith("_bytes") and isinstance(value, int):
        unit = next(unit for unit in ("GiB", "MiB", "KiB", "B") if value % _BYTES[unit] == 0)
        return f"{value // _BYTES[unit]}{unit}"
    return str(value)


def unix_path(address: str) -> Path | None:
    """Returns the path of a canonical `unix:` address, None for TCP."""
    return Path(address.removeprefix("unix:")) if address.startswith("unix:") else None


def is_tcp(address: str) -> bool:
    """Returns whether a canonical address is `HOST:PORT`."""
    return not address.startswith("unix:")


def is_loopback(address: str) -> bool:
    """Returns whether only this machine can reach a canonical TCP address."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _quoted(text: str) -> str:
    """Returns a wrong value in quotes for an error sentence, which stays short whatever was given."""
    return repr(_shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_QUOTED_CHARS else f"{text[:_MAX_QUOTED_CHARS]}..."


def _unix_address(text: str) -> str:
    path = text.removeprefix("unix:")
    if path.startswith("//"):  # gRPC's other form, unix:///absolute/path
        path = "/" + path.lstrip("/")
    path = os.fspath(as_path(path))
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"has a socket path of {length} bytes, but the kernel allows {MAX_SOCKET_PATH_BYTES}: {path}")
    return f"unix:{path}"
