"""Converting the largest lawful values leaves the loop to other calls, and is faster than protobuf's own conversion."""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.caller import OWNER
from mailroomd.core.host_directory import HostDirectory
from mailroomd.gateway.alias_cache import AliasCache
from mailroomd.gateway.call import Call
from mailroomd.gateway.conversion import draft_from_proto, response_to_proto
from mailroomd.gateway.cooperation import SLICE_SEC, WorkSlots
from mailroomd.gateway.encoding import EventEncoder
from mailroomd.gateway.inbox_census import PendingFiles
from mailroomd.gateway.lookup import Lookup
from mailroomd.gateway.page_requests import parse_agents, parse_queues, parse_stats
from mailroomd.gateway.request_types import SendMessageRequest
from mailroomd.gateway.structs import encode_struct, encode_varint, metadata_to_json
from mailroomd.model.announcement import Response
from mailroomd.model.ids import milliseconds_of
from mailroomd.model.limits import MAX_METADATA_BYTES, STATS_MAX_SIZE
from mailroomd.model.message import Draft
from mailroomd.model.states import DeliveryState
from mailroomd.table.layout import MailboxCounts

NUMBERS = [1] * ((MAX_METADATA_BYTES - len('{"a":[]}')) // 2)  # the most values that lawful metadata can have
LARGEST_METADATA = encode_struct({"a": NUMBERS})
NAMES = [f"agent-{index:05}" for index in range(STATS_MAX_SIZE)]


def calls_of(work: Callable[[], object]) -> int:
    """Returns how many functions the work calls: what it costs, whatever else the machine does."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_the_largest_metadata_is_sent_in_a_fraction_of_protobufs_calls() -> None:
    protobufs_own = calls_of(lambda: struct_pb2.Struct().update({"a": NUMBERS}))
    assert calls_of(lambda: encode_struct({"a": NUMBERS})) < protobufs_own * 0.7


def test_other_calls_run_while_the_largest_metadata_is_received() -> None:
    request = SendMessageRequest.FromString(
        pb.SendMessageRequest(recipient="b", sender="a", content="x").SerializeToString()
    )
    request.MergeFromString(b"\x2a" + encode_varint(len(LARGEST_METADATA)) + LARGEST_METADATA)
    drafts: list[Draft] = []

    async def convert() -> None:
        drafts.append(await draft_from_proto(request))

    assert turns_beside(convert) >= 2
    assert json.loads(drafts[0].metadata) == {"a": NUMBERS}


VALUES: list[dict[str, Any]] = [
    {},
    {"": ""},
    {"a": [None, True, False, 0, -1, 1.5, 2**53, "é" * 100, "x" * 20_000, [], {}, [[[]]], {"b": {"c": [{}]}}]},
    {f"key {index}": index for index in range(1000)},
]


@pytest.mark.parametrize("value", VALUES)
def test_an_encoded_struct_is_what_protobuf_makes_of_the_same_value(value: dict[str, Any]) -> None:
    expected = struct_pb2.Struct()
    expected.update(value)
    assert struct_pb2.Struct.FromString(encode_struct(value)) == expected
    assert json.loads(metadata_to_json(expected.SerializeToString())) == value


def test_a_response_with_many_decimals_is_converted_once_while_other_calls_run() -> None:
    decimals = ",".join(f"0.{index * 79_190_010_003 + 1:016d}" for index in range(49_000))
    response = Response(7, "a", "a", "1.json", DeliveryState.FILED, 1, f'{{"a": [{decimals}]}}'.encode())
    encoder, events = EventEncoder(), list[bytes]()

    async def encode() -> None:
        events.append(await encoder.encode_announcement(response))

    assert turns_beside(encode) >= 3
    assert encoder.find_encoded(response) == events[0]
    sent = pb.SubscribeResponse.FromString(events[0]).command_response
    assert sent == response_to_proto(response)
    assert json_format.MessageToDict(sent.body) == json.loads(response.body)


class ManyMailboxes:
    """Has as many mailboxes as one page can list."""

    def __init__(self, names: list[str]) -> None:
        self._all = [(name, MailboxCounts(3, 2, 7 << 30, last_seen_ms=1_000_000, subscribers=1)) for name in names]

    async def catch_up(self) -> None: ...

    async def read_all_counts(self) -> list[tuple[str, MailboxCounts]]:
        return self._all

    def accepted_ms(self, message_id: int) -> int:
        return milliseconds_of(message_id)

    def count(self, _: str) -> dict[str, PendingFiles]:
        return {name: PendingFiles(3, 7 << 30, 1_000_000) for name, _ in self._all}


@pytest.mark.parametrize("rpc", ["GetMailboxStats", "ListAgents", "GetQueueStats"])
def test_a_list_of_every_mailbox_there_can_be_keeps_no_call_waiting_for_50_ms(rpc: str) -> None:
    many: Any = ManyMailboxes([f"{number * 7919 % 131_071:016x}" for number in range(131_000)])
    nothing: Any = None
    call = Call(OWNER, nothing, lambda: None, lambda _: True, WorkSlots(1))
    lookup = Lookup(many, AliasCache(), many, HostDirectory(None))

    async def look_up() -> None:
        if rpc == "GetMailboxStats":
            await lookup.get_mailbox_stats(await parse_stats(pb.GetMailboxStatsRequest(page_token="0"), call), call)
        elif rpc == "ListAgents":
            await lookup.list_agents(await parse_agents(pb.ListAgentsRequest(page_token="0"), call), call)
        else:
            await lookup.get_queue_stats(await parse_queues(pb.GetQueueStatsRequest(page_token="0"), call), call)

    assert longest_turn_sec(look_up) < 0.05


def longest_turn_sec(work: Callable[[], Awaitable[None]]) -> float:
    """Returns the most processor time that passed between two turns of another call while the work was done."""

    async def play() -> float:
        longest = 0.0

        async def take_turns() -> None:
            nonlocal longest
            while True:
                begun = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - begun)

        other = asyncio.create_task(take_turns())
        await asyncio.sleep(0)
        await work()
        other.cancel()
        return longest

    gc.freeze()  # as a worker does: what it has imported is never collected
    try:
        return min(asyncio.run(play()) for _ in range(3))
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("rpc", ["GetMailboxStats", "ListAgents"])
def test_other_calls_run_while_thousands_of_mailboxes_are_listed(rpc: str) -> None:
    reader: Any = ManyMailboxes(NAMES)
    nothing: Any = None
    call = Call(OWNER, nothing, lambda: None, lambda _: True, WorkSlots(1))
    lookup = Lookup(reader, AliasCache(), nothing, HostDirectory(None))
    responses: list[bytes] = []

    async def look_up() -> None:
        if rpc == "GetMailboxStats":
            response = await lookup.get_mailbox_stats(await parse_stats(pb.GetMailboxStatsRequest(), call), call)
        else:
            response = await lookup.list_agents(await parse_agents(pb.ListAgentsRequest(), call), call)
        responses.append(response.SerializeToString())

    assert turns_beside(look_up) >= 2
    if rpc == "GetMailboxStats":
        mailboxes = pb.GetMailboxStatsResponse.FromString(responses[0]).mailboxes
        assert [mailbox.agent_id for mailbox in mailboxes] == NAMES
        assert {(mailbox.total, mailbox.unread, mailbox.subscribers) for mailbox in mailboxes} == {(3, 2, 1)}
    else:
        agents = pb.ListAgentsResponse.FromString(responses[0])
        assert [agent.name for agent in agents.agents] == NAMES[:1000]
        assert (agents.next_page_token, agents.agents[0].alive) == (NAMES[999], True)


def turns_beside(work: Callable[[], Awaitable[None]]) -> int:
    """Returns how often another call got a turn while the work was done."""

    async def play() -> int:
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(SLICE_SEC)
                turns += 1

        other = asyncio.create_task(take_turns())
        await asyncio.sleep(0)
        await work()
        other.cancel()
        return turns

    return asyncio.run(play())
