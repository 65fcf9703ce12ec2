"""What decoding a request costs is known, and bounded, before it is decoded; what it means does not change."""

import asyncio
import time
from typing import Any

import pytest
from google.protobuf import struct_pb2
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.gateway import request_decoding
from mailroomd.gateway.conversion import draft_from_proto
from mailroomd.gateway.request_decoding import CHEAP_BYTES, MAX_ENTRIES, SLICE_BYTES, check_shape, decode
from mailroomd.gateway.request_types import BroadcastMessageRequest, SendMessageRequest, SendMessagesRequest
from mailroomd.gateway.structs import encode_varint
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_CONTENT_BYTES, MAX_METADATA_BYTES

LARGEST_METADATA = struct_pb2.Struct()
LARGEST_METADATA["a"] = [1] * ((MAX_METADATA_BYTES - 8) // 2)
LARGEST_MESSAGE = pb.SendMessageRequest(
    recipient="b" * 128,
    sender="a" * 128,
    content="x" * MAX_CONTENT_BYTES,
    type="t" * 128,
    metadata=LARGEST_METADATA,
    thread_id="t" * 128,
    in_reply_to="1a223c54a4e00000",
    priority=pb.PRIORITY_HIGH,
    idempotency_key="k" * 128,
)
LARGEST_MESSAGE.ttl.FromSeconds(10)


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + encode_varint(len(content)) + content


def decoded(request_type: type[Any], encoded: bytes) -> Any:
    requests: list[Any] = []

    async def play() -> None:
        requests.append(await decode(request_type, encoded))

    asyncio.run(play())  # which would write out what `play` returns
    return requests[0]


@pytest.mark.parametrize(
    ("received_type", "request_"),
    [
        (SendMessageRequest, LARGEST_MESSAGE),
        (BroadcastMessageRequest, pb.BroadcastMessageRequest(recipients=["r" * 128] * 1000, message=LARGEST_MESSAGE)),
        (SendMessagesRequest, pb.SendMessagesRequest(messages=[LARGEST_MESSAGE] * 11)),
        (SendMessagesRequest, pb.SendMessagesRequest(messages=[pb.SendMessageRequest(content="x" * 16_000)] * 1000)),
        (
            pb.AcknowledgeMessagesRequest,
            pb.AcknowledgeMessagesRequest(agent="a", message_ids=["1a223c54a4e00000"] * 1000),
        ),
    ],
    ids=["message", "broadcast", "batch", "batch of many", "ids"],
)
def test_the_largest_lawful_requests_are_decoded_unchanged(received_type: type[Any], request_: Any) -> None:
    received = decoded(received_type, request_.SerializeToString())
    assert request_.FromString(received.SerializeToString()) == request_


def test_a_message_arrives_with_every_field_although_its_metadata_stays_encoded() -> None:
    draft = asyncio.run(draft_from_proto(decoded(SendMessageRequest, LARGEST_MESSAGE.SerializeToString())))
    assert (draft.recipient, draft.thread_id, draft.ttl_ms, draft.priority) == ("b" * 128, "t" * 128, 10_000, 3)
    assert draft.metadata == b'{"a":[' + b",".join([b"1"] * ((MAX_METADATA_BYTES - 8) // 2)) + b"]}"


@pytest.mark.parametrize(
    ("received_type", "encoded", "refusal"),
    [
        (SendMessagesRequest, b"\x0a\x00" * (CHEAP_BYTES // 2 + 1), (Reason.TOO_MANY, "messages")),
        (BroadcastMessageRequest, b"\x0a\x01a" * CHEAP_BYTES, (Reason.TOO_MANY, "recipients")),
        (pb.MarkOfferedRequest, b"\x12\x00" * CHEAP_BYTES, (Reason.TOO_MANY, "message_ids")),
        (pb.ClearMailboxRequest, field(1, b"a") * CHEAP_BYTES, (Reason.REQUEST_MALFORMED, "")),
        (pb.ClearMailboxRequest, b"\xf8\x3f\x01" * CHEAP_BYTES, (Reason.REQUEST_MALFORMED, "")),
        (pb.ClearMailboxRequest, b"\x0b\x0c" * CHEAP_BYTES, (Reason.REQUEST_MALFORMED, "")),
        (pb.ClearMailboxRequest, b"\xff" * (CHEAP_BYTES + 1), (Reason.REQUEST_MALFORMED, "")),
        (pb.ClearMailboxRequest, field(1, bytes(CHEAP_BYTES))[:-1], (Reason.REQUEST_MALFORMED, "")),
        (SendMessagesRequest, field(1, b"\x1a\x00" * CHEAP_BYTES), (Reason.REQUEST_MALFORMED, "")),
        (SendMessageRequest, field(9, b"\x08\x01" * CHEAP_BYTES), (Reason.REQUEST_MALFORMED, "")),
    ],
)
def test_a_request_with_too_many_fields_is_refused(
    received_type: Any, encoded: bytes, refusal: tuple[Reason, str]
) -> None:
    with pytest.raises(MailroomError) as refused:
        decoded(received_type, encoded)
    assert (refused.value.reason, refused.value.field) == refusal


def test_counting_ends_with_the_first_entry_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    read_varint = request_decoding._read_varint  # pyright: ignore[reportPrivateUsage]

    def count(*arguments: Any) -> tuple[int, int]:
        nonlocal reads
        reads += 1
        return read_varint(*arguments)

    monkeypatch.setattr(request_decoding, "_read_varint", count)
    with pytest.raises(MailroomError):
        check_shape(SendMessagesRequest.DESCRIPTOR, b"\x0a\x00" * (8 << 20))
    assert reads <= 2 * (MAX_ENTRIES + 1)


def test_a_large_batch_is_decoded_in_slices_between_which_other_calls_run() -> None:
    encoded = pb.SendMessagesRequest(messages=[pb.SendMessageRequest(content="x" * 10_000)] * 1000).SerializeToString()
    ends = check_shape(SendMessagesRequest.DESCRIPTOR, encoded)
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert sum(sizes) == len(encoded)
    assert max(sizes) < SLICE_BYTES + 10_100


def test_values_that_no_metadata_can_hold_are_refused_before_they_take_memory() -> None:
    encoded = field(5, field(1, field(1, b"a") + field(2, field(6, b"\x0a\x00" * (4 << 20)))))
    started_sec = time.process_time()
    with pytest.raises(MailroomError) as refused:
        asyncio.run(draft_from_proto(decoded(SendMessageRequest, encoded)))
    assert refused.value.reason is Reason.METADATA_TOO_LARGE
    assert time.process_time() - started_sec < 0.5  # some milliseconds; decoded, the values take seconds
