"""Encoding — what is announced as the bytes of a SubscribeResponse, a message once for all its streams.

Owns a bounded cache of what was announced last; by message and state, so a hit is never out of date.
"""

__all__ = ["EventEncoder"]

from collections import OrderedDict

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.gateway.conversion import message_to_proto, receipt_to_proto, response_to_proto
from mailroomd.model.announcement import Announcement, Receipt, Response
from mailroomd.model.ids import format_id
from mailroomd.model.message import Message

CACHE_BYTES = 4 << 20  # of serialized events: the announcements that many streams are about to write
ENTRY_BYTES = 300  # that each takes beside: key, ids, and its place in the order


class EventEncoder:
    """Serializes events."""

    def __init__(self) -> None:
        self._cache: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._cached_bytes = 0

    def announcement(self, one: Announcement) -> bytes:
        """Returns a message, a receipt or a response as a serialized event."""
        match one:
            case Message():
                return self._message(one)
            case Receipt():
                event = pb.SubscribeResponse(receipt=receipt_to_proto(one), event_id=format_id(one.id))
            case Response():
                event = pb.SubscribeResponse(command_response=response_to_proto(one), event_id=format_id(one.id))
        return event.SerializeToString()

    def _message(self, message: Message) -> bytes:
        key = (message.id, message.state)
        encoded = self._cache.get(key)
        if encoded is None:
            event = pb.SubscribeResponse(message=message_to_proto(message), event_id=format_id(message.id))
            encoded = self._cache[key] = event.SerializeToString()
            self._cached_bytes += len(encoded) + ENTRY_BYTES
            while self._cached_bytes > CACHE_BYTES:
                _, old = self._cache.popitem(last=False)
                self._cached_bytes -= len(old) + ENTRY_BYTES
        return encoded

    def caught_up(self, cursor: int) -> bytes:
        """Returns the event that says: the replay is over."""
        place = format_id(cursor)
        return pb.SubscribeResponse(caught_up=pb.CaughtUp(last_id=place), event_id=place).SerializeToString()

    def going_away(self, cursor: int) -> bytes:
        """Returns the event that says: the daemon stops."""
        place = format_id(cursor)
        return pb.SubscribeResponse(going_away=pb.GoingAway(last_id=place), event_id=place).SerializeToString()
