"""Encoding — a message as the bytes of a SubscribeResponse, made once for all its streams.

Owns a bounded cache of what was announced last; by message and state, so a hit is never out of date.
"""

__all__ = ["EventEncoder"]

from collections import OrderedDict

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.model.ids import format_id
from mailroomd.model.message import Message
from mailroomd.rpc.conversion import message_to_proto

CACHE_BYTES = 4 << 20  # of serialized events: the announcements that many streams are about to write


class EventEncoder:
    """Serializes events."""

    def __init__(self) -> None:
        self._cache: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._cached_bytes = 0

    def message(self, message: Message) -> bytes:
        """Returns a message as a serialized event."""
        key = (message.id, message.state)
        encoded = self._cache.get(key)
        if encoded is None:
            event = pb.SubscribeResponse(message=message_to_proto(message), event_id=format_id(message.id))
            encoded = self._cache[key] = event.SerializeToString()
            self._cached_bytes += len(encoded)
            while self._cached_bytes > CACHE_BYTES:
                _, old = self._cache.popitem(last=False)
                self._cached_bytes -= len(old)
        return encoded

    def caught_up(self, cursor: int) -> bytes:
        """Returns the event that says: the replay is over."""
        place = format_id(cursor)
        return pb.SubscribeResponse(caught_up=pb.CaughtUp(last_id=place), event_id=place).SerializeToString()

    def going_away(self, cursor: int) -> bytes:
        """Returns the event that says: the daemon stops."""
        place = format_id(cursor)
        return pb.SubscribeResponse(going_away=pb.GoingAway(last_id=place), event_id=place).SerializeToString()
