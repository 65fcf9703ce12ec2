"""A broadcast takes no more of the gateway's room at once than a part of it."""

import asyncio
from typing import Any

from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.gateway.mailbox_client import PendingRequest
from mailroomd.gateway.sending import BROADCAST_BYTES, Sending
from mailroomd.model.limits import MAX_WAITING_BYTES
from mailroomd.model.states import DeliveryState
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.protocol.packets import MessageStored


class CallsThatWeigh:
    """Answers every call, and notes how much waited at once."""

    def __init__(self) -> None:
        self.waiting_bytes = 0
        self.most_bytes = 0

    def request_key(self, call: int) -> str:
        return str(call)

    async def ask(self, one: PendingRequest, _: Any, __: float | None) -> MessageStored:
        self.waiting_bytes += one.weight_bytes
        self.most_bytes = max(self.most_bytes, self.waiting_bytes)
        await asyncio.sleep(0)
        self.waiting_bytes -= one.weight_bytes
        request: Any = one.make(7)
        return MessageStored(request.call, 7, 1, DeliveryState.FILED, "", 0, 0, repeated=False)


def test_a_broadcast_of_large_content_to_many_stays_within_its_part() -> None:
    calls: Any = CallsThatWeigh()
    names = [f"agent-{number}" for number in range(1000)]
    message = pb.SendMessageRequest(sender="a", content="x" * 1_000_000)
    request = pb.BroadcastMessageRequest(recipients=names, message=message)
    response = asyncio.run(Sending(calls, MetricsBlock.private()).broadcast(request, None, ""))
    assert [one.ok.message.recipient for one in response.results] == names
    assert BROADCAST_BYTES * 0.9 < calls.most_bytes < BROADCAST_BYTES * 1.1 < MAX_WAITING_BYTES
