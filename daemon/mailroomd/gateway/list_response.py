"""list_response — responses that carry a page of a list, encoded item by item.

Owns how many messages one response may carry.
"""

__all__ = ["ListResponse", "encode_items", "encode_messages", "has_more"]

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import Message as ProtoMessage

from mailroomd.gateway.conversion import message_to_proto, preview_to_proto
from mailroomd.gateway.cooperation import LoopShare
from mailroomd.gateway.structs import encode_varint
from mailroomd.model.limits import MAX_PAGE_BYTES
from mailroomd.model.message import Message
from mailroomd.model.page import Page

Item = TypeVar("Item")

_LENGTH_DELIMITED = 2  # wire type; source: protobuf.dev/programming-guides/encoding


class ListResponse:
    """A response with a list whose items are encoded already.

    Copying thousands of items into one protobuf message, and encoding that, would occupy the loop for too long.

    Args:
        rest: the response without its items.
        field: the name of the list.
        items: the encoded items.
    """

    def __init__(self, rest: ProtoMessage, field: str, items: Sequence[bytes]) -> None:
        self._rest = rest
        self._field = field
        self._items = items

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Returns the whole response, encoded."""
        field = self._rest.DESCRIPTOR.fields_by_name[self._field].number
        tag = bytes([field << 3 | _LENGTH_DELIMITED])
        parts = [part for item in self._items for part in (tag, encode_varint(len(item)), item)]
        return b"".join([*parts, self._rest.SerializeToString()])


async def encode_items(
    items: Iterable[Item], to_proto: Callable[[Item], ProtoMessage], share: LoopShare
) -> list[bytes]:
    """Returns the items of a list, each as an encoded protobuf message."""
    encoded: list[bytes] = []
    for item in items:
        encoded.append(to_proto(item).SerializeToString())
        await share.yield_if_due()
    return encoded


async def encode_messages(messages: list[Message], share: LoopShare, preview_bytes: int = 0) -> list[bytes]:
    """Returns as many messages as one response may carry, at least one, each as an encoded protobuf message.

    Args:
        messages: the page.
        share: of the loop.
        preview_bytes: what is shown of each content; 0 for all of it, and metadata.
    """
    encoded: list[bytes] = []
    room = MAX_PAGE_BYTES
    for message in messages:
        proto = preview_to_proto(message, preview_bytes) if preview_bytes else message_to_proto(message)
        encoded_message = proto.SerializeToString()
        room -= len(encoded_message)  # metadata is several times as large as in JSON
        if room < 0 and encoded:
            break
        encoded.append(encoded_message)
        await share.yield_if_due()
    return encoded


def has_more(returned: int, page: Page[Message], limit: int) -> bool:
    """Returns whether a response leaves out messages, given a page that was read with `limit + 1`."""
    return returned < len(page) or (page.is_cut and len(page) <= limit)
