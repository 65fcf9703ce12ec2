"""RawStreams — thousands of Subscribe streams on one connection, of a client that costs next to nothing itself.

Owns the reading of what comes on them, in a thread. They take everything at once: flow control never holds one up.
"""

__all__ = ["RawStreams", "raw_streams"]

import struct
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import SERVICE
from support.harness.raw_http2 import ACK, DATA, END_STREAM, PING, RawConnection, frame, grpc_body
from support.harness.waiting import BOUND_SEC, wait_until

_HEAD = struct.Struct(">IBI")  # of a frame, whose length has three bytes
_AT_ONCE = 100  # streams opened in one write


class RawStreams:
    """Streams, one for each agent.

    Attributes:
        seen: the ids of the messages that came, by stream.
    """

    def __init__(self, connection: RawConnection, agents: Sequence[str]) -> None:
        self.seen: list[list[str]] = [[] for _ in agents]
        self._caught_up = 0
        self._bodies = [b""] * len(agents)
        self._connection = connection
        self._agents = agents
        self._thread = threading.Thread(target=self._read)

    def open(self) -> None:
        """Opens them all and returns when each one is live."""
        self._connection.socket.settimeout(None)
        self._connection.begin()
        self._connection.open_window()
        self._thread.start()
        for number, agent in enumerate(self._agents):
            self._connection.call(SERVICE + "Subscribe", stream=2 * number + 1)
            body = grpc_body(pb.SubscribeRequest(agent=agent).SerializeToString())
            self._connection.say(frame(DATA, END_STREAM, 2 * number + 1, body))
            if number % _AT_ONCE == 0:
                wait_until(lambda number=number: self._caught_up >= number - _AT_ONCE, "streams are live")
        wait_until(lambda: self._caught_up == len(self._agents), "every stream is live", 4 * BOUND_SEC)

    def end(self) -> None:
        """Waits for the thread; the connection is closed before."""
        self._thread.join(BOUND_SEC)

    def _read(self) -> None:
        rest = b""
        with suppress(OSError):
            while piece := self._connection.socket.recv(1 << 20):
                rest = self._take_frames(rest + piece)

    def _take_frames(self, raw: bytes) -> bytes:
        """Takes the whole frames; returns what is left."""
        at = 0
        while len(raw) - at >= 9:
            length_kind, flags, stream = _HEAD.unpack_from(raw, at)
            length, kind = length_kind >> 8, length_kind & 255
            if len(raw) - at < 9 + length:
                break
            payload = raw[at + 9 : at + 9 + length]
            if kind == DATA:
                self._take_body(stream // 2, payload)
            elif kind == PING and not flags & ACK:  # who does not answer for a minute is taken for dead
                self._connection.say(frame(PING, ACK, 0, payload))
            at += 9 + length
        return raw[at:]

    def _take_body(self, number: int, body: bytes) -> None:
        body = self._bodies[number] + body
        while len(body) >= 5 and len(body) >= 5 + (size := int.from_bytes(body[1:5], "big")):
            event = pb.SubscribeResponse.FromString(body[5 : 5 + size])
            if event.HasField("message"):
                self.seen[number].append(event.message.id)
            self._caught_up += event.HasField("caught_up")
            body = body[5 + size :]
        self._bodies[number] = body


@contextmanager
def raw_streams(target: str, agents: Sequence[str]) -> Generator[RawStreams]:
    """Opens streams, and leaves them by closing their connection."""
    connection = RawConnection(target)
    streams = RawStreams(connection, agents)
    try:
        streams.open()
        yield streams
    finally:
        with suppress(OSError):
            connection.socket.shutdown(2)
        connection.socket.close()
        streams.end()
