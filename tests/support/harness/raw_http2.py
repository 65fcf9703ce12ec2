"""raw_http2 — HTTP/2 by hand, for what no well-behaved client would send.

Owns a connection on a Unix socket and the frames that are put together byte by byte. Not here: what is answered; a
frame's bytes are returned as they come. Source of the format: RFC 9113 (frames), RFC 7541 (headers, all literal).
"""

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "HEADERS",
    "PING",
    "PREFACE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "RawConnection",
    "frame",
    "grpc_body",
    "header_block",
    "raw_connection",
]

import socket
import struct
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4
ACK = 0x1  # of a ping or of settings
INITIAL_WINDOW_SIZE = 4  # a setting
LARGEST_WINDOW, USUAL_WINDOW = 0x7FFF_FFFF, 0xFFFF
ANSWER_SEC = 5.0


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Returns a frame; its length may be a lie."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(headers: Iterable[tuple[str, bytes]]) -> bytes:
    """Returns headers as literals, without any table."""
    return b"".join(b"\x00" + _text(name.encode()) + _text(value) for name, value in headers)


def grpc_body(message: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """Returns a message in gRPC's frame; its length may be a lie."""
    return struct.pack(">BI", compressed, len(message) if length is None else length) + message


def _text(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes([size]) + text
    size -= 127
    prefix = bytearray(b"\x7f")
    while size >= 128:
        prefix.append(size % 128 + 128)
        size //= 128
    prefix.append(size)
    return bytes(prefix) + text


class RawConnection:
    """A connection that says what it is told to."""

    def __init__(self, target: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_SEC)
        self.socket.connect(target.removeprefix("unix:"))

    def say(self, *parts: bytes) -> None:
        """Sends bytes; where the other side has gone already, nothing."""
        with suppress(OSError):
            self.socket.sendall(b"".join(parts))

    def begin(self) -> None:
        """Begins as a client has to."""
        self.say(PREFACE, frame(SETTINGS, 0, 0), frame(SETTINGS, 1, 0))

    def open_window(self) -> None:
        """Takes as much as there is, of each stream and of all together."""
        self.say(frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW)))
        self.say(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - USUAL_WINDOW)))

    def call(self, path: str, *, stream: int = 1, more: Iterable[tuple[str, bytes]] = ()) -> None:
        """Begins a call."""
        usual = [
            (":method", b"POST"),
            (":scheme", b"http"),
            (":path", path.encode()),
            (":authority", b"localhost"),
            ("content-type", b"application/grpc"),
            ("te", b"trailers"),
        ]
        self.say(frame(HEADERS, END_HEADERS, stream, header_block([*usual, *more])))

    def heard(self, until: bytes = b"", most: int = 1 << 20) -> bytes:
        """Returns what comes, until it contains something or the other side closes; the rest of the time in vain."""
        said = b""
        with suppress(OSError):
            while len(said) < most and not (until and until in said):
                part = self.socket.recv(65536)
                if not part:
                    break
                said += part
        return said


@contextmanager
def raw_connection(target: str) -> Generator[RawConnection]:
    """Opens a connection and closes it."""
    connection = RawConnection(target)
    try:
        yield connection
    finally:
        connection.socket.close()
