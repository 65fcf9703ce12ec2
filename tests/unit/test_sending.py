"""A broadcast takes only a part of the gateway's capacity at once."""

import asyncio
from typing import Any

from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.caller import OWNER
from mailroomd.core.host_directory import HostDirectory
from mailroomd.gateway.call import Call
from mailroomd.gateway.cooperation import WorkSlots
from mailroomd.gateway.mailbox_client import Submission
from mailroomd.gateway.request_parsing import parse_broadcast
from mailroomd.gateway.request_types import BroadcastMessageRequest, SendMessageRequest
from mailroomd.gateway.sending import BROADCAST_BYTES, Sending
from mailroomd.model.limits import MAX_WAITING_BYTES
from mailroomd.model.states import DeliveryState
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.protocol.operations import Send, Sent
from mailroomd.protocol.packets import Answer


class WeighingClient:
    """Answers every request, and records the most bytes that were pending at once."""

    def __init__(self) -> None:
        self.pending_bytes = 0
        self.peak_bytes = 0
        self.started = 0

    def new_key(self) -> str:
        return "key"

    async def request(self, submission: Submission, _: float | None) -> Answer:
        self.pending_bytes += submission.weight_bytes
        self.peak_bytes = max(self.peak_bytes, self.pending_bytes)
        self.started += 1
        started = 0
        while started != self.started:  # it answers when nothing more arrives
            started = self.started
            await asyncio.sleep(0.02)
        self.pending_bytes -= submission.weight_bytes
        assert isinstance(submission.op, Send)
        return Answer(7, Sent(7, 1, DeliveryState.FILED, submission.op.recipient))


class Undated:
    """The context of a call without a deadline."""

    def time_remaining(self) -> None: ...


def test_a_broadcast_of_large_content_to_many_stays_within_its_part() -> None:
    client: Any = WeighingClient()
    names = [f"agent-{index}" for index in range(1000)]
    message = SendMessageRequest(sender="a", content="x" * 1_000_000)
    request = BroadcastMessageRequest(recipients=names, message=message)
    call = Call(OWNER, Undated(), lambda: None, lambda _: True, WorkSlots(1))
    sending = Sending(client, MetricsBlock.private(), HostDirectory(None))

    async def broadcast() -> pb.BroadcastMessageResponse:
        return await sending.broadcast(await parse_broadcast(request, call), call)

    response = asyncio.run(broadcast())
    assert [result.ok.message.recipient for result in response.results] == names
    assert BROADCAST_BYTES * 0.9 < client.peak_bytes < BROADCAST_BYTES * 1.1 < MAX_WAITING_BYTES
