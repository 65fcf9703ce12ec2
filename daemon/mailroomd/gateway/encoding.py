"""EventEncoder — encodes events as the bytes of a SubscribeResponse, a message once for all of its streams.

Owns a bounded cache of the messages that were encoded last. Its key has the message's state, so a hit is never stale.
"""

__all__ = ["EventEncoder"]

from collections import OrderedDict

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.gateway.conversion import message_to_proto, receipt_to_proto, response_to_proto
from mailroomd.model.announcement import Announcement, Receipt, Response
from mailroomd.model.ids import format_id
from mailroomd.model.message import Message

CACHE_BYTES = 4 << 20  # of serialized events: those that many streams are about to write
ENTRY_BYTES = 300  # overhead of one entry: key, ids, and its node in the order


class EventEncoder:
    """Serializes events."""

    def __init__(self) -> None:
        self._cache: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._cached_bytes = 0

    def encode_announcement(self, announcement: Announcement) -> bytes:
        """Returns a message, a receipt or a response as a serialized event."""
        match announcement:
            case Message():
                return self._encode_message(announcement)
            case Receipt():
                event = pb.SubscribeResponse(receipt=receipt_to_proto(announcement))
            case Response():
                event = pb.SubscribeResponse(command_response=response_to_proto(announcement))
        event.event_id = format_id(announcement.id)
        return event.SerializeToString()

    def find_encoded(self, announcement: Announcement) -> bytes | None:
        """Returns a message's serialized event if the cache has it."""
        return self._cache.get((announcement.id, announcement.state)) if isinstance(announcement, Message) else None

    def _encode_message(self, message: Message) -> bytes:
        key = (message.id, message.state)
        encoded = self._cache.get(key)
        if encoded is None:
            event = pb.SubscribeResponse(message=message_to_proto(message), event_id=format_id(message.id))
            encoded = self._cache[key] = event.SerializeToString()
            self._cached_bytes += len(encoded) + ENTRY_BYTES
            while self._cached_bytes > CACHE_BYTES:
                _, evicted = self._cache.popitem(last=False)
                self._cached_bytes -= len(evicted) + ENTRY_BYTES
        return encoded

    def encode_caught_up(self, cursor: int) -> bytes:
        """Returns the event that ends the replay."""
        last_id = format_id(cursor)
        return pb.SubscribeResponse(caught_up=pb.CaughtUp(last_id=last_id), event_id=last_id).SerializeToString()

    def encode_going_away(self, cursor: int) -> bytes:
        """Returns the event that announces the daemon's stop."""
        last_id = format_id(cursor)
        return pb.SubscribeResponse(going_away=pb.GoingAway(last_id=last_id), event_id=last_id).SerializeToString()
