"""EventEncoder — encodes events as SubscribeResponses, mail once for all of its streams, and joins them to batches.

Owns a bounded cache of the messages and responses that were encoded last. Its key has their state, so a hit is never
stale, and how much of the content is shown. A large response is converted in a thread: there may be 50,000 numbers in
it to look at.
"""

__all__ = ["EventEncoder", "join_events"]

from collections import OrderedDict
from collections.abc import Sequence

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.gateway.conversion import message_to_proto, preview_to_proto, receipt_to_proto, response_to_proto
from mailroomd.gateway.cooperation import work_in_thread
from mailroomd.gateway.list_response import ListResponse
from mailroomd.model.announcement import Announcement, Receipt, Response
from mailroomd.model.ids import format_id
from mailroomd.model.message import Message

CACHE_BYTES = 4 << 20  # of serialized events: those that many streams are about to write
LARGE_RESPONSE_BYTES = 64 << 10  # of JSON: smaller ones take some milliseconds at most
ENTRY_BYTES = 300  # overhead of one entry: key, ids, and its node in the order


class EventEncoder:
    """Serializes events."""

    def __init__(self) -> None:
        self._cache: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()
        self._cached_bytes = 0

    async def encode_announcement(self, announcement: Announcement, preview_bytes: int = 0) -> bytes:
        """Returns a message, a receipt or a response as a serialized event, and keeps it for other streams.

        Args:
            announcement: the item.
            preview_bytes: what is shown of a message's content; 0 for all of it, and metadata.
        """
        if isinstance(announcement, Response) and len(announcement.body) > LARGE_RESPONSE_BYTES:
            encoded = await work_in_thread(_encode, announcement)
        else:
            encoded = _encode(announcement, preview_bytes)
        if not isinstance(announcement, Receipt):
            self._remember((announcement.id, announcement.state, preview_bytes), encoded)
        return encoded

    def find_encoded(self, announcement: Announcement, preview_bytes: int = 0) -> bytes | None:
        """Returns the serialized event of a message or a response if the cache has it."""
        if isinstance(announcement, Receipt):
            return None
        return self._cache.get((announcement.id, announcement.state, preview_bytes))

    def _remember(self, key: tuple[int, int, int], encoded: bytes) -> None:
        if key in self._cache:  # another stream was faster
            return
        self._cache[key] = encoded
        self._cached_bytes += len(encoded) + ENTRY_BYTES
        while self._cached_bytes > CACHE_BYTES:
            _, evicted = self._cache.popitem(last=False)
            self._cached_bytes -= len(evicted) + ENTRY_BYTES

    def encode_caught_up(self, cursor: int, *, gap: bool) -> bytes:
        """Returns the event that ends the replay."""
        caught_up = pb.CaughtUp(last_id=format_id(cursor), gap=gap)
        return pb.SubscribeResponse(caught_up=caught_up, event_id=caught_up.last_id).SerializeToString()

    def encode_going_away(self, cursor: int) -> bytes:
        """Returns the event that announces the daemon's stop."""
        last_id = format_id(cursor)
        return pb.SubscribeResponse(going_away=pb.GoingAway(last_id=last_id), event_id=last_id).SerializeToString()


def join_events(events: Sequence[bytes], last_id: int) -> bytes:
    """Returns the response that carries some events, which are encoded already; `last_id` is that of the last one."""
    if len(events) == 1:
        return events[0]
    return ListResponse(pb.SubscribeResponse(event_id=format_id(last_id)), "events", events).SerializeToString()


def _encode(announcement: Announcement, preview_bytes: int = 0) -> bytes:
    match announcement:
        case Message():
            shown = preview_to_proto(announcement, preview_bytes) if preview_bytes else message_to_proto(announcement)
            event = pb.SubscribeResponse(message=shown)
        case Receipt():
            event = pb.SubscribeResponse(receipt=receipt_to_proto(announcement))
        case Response():
            event = pb.SubscribeResponse(command_response=response_to_proto(announcement))
    event.event_id = format_id(announcement.id)
    return event.SerializeToString()
