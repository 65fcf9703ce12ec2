"""load_streams — the load's subscribers: each notes every event, and resumes behind the last one whatever happens.

Four of them: one mailbox, all mailboxes, one sender's receipts, one session's responses. Two of them ask for batches.
Not here: judging (`checker`).
"""

__all__ = ["STREAMS", "LoadStreams"]

import asyncio
import time

import grpc.aio
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.load_context import LoadContext, digest_of
from support.faults.load_plan import FIRST_MAILBOX, OUTBOX_SESSIONS, RECEIPTS_SENDER
from support.harness.contract import RETRYABLE, events_of
from support.harness.waiting import BOUND_SEC

STREAMS = {
    "mailbox": pb.SubscribeRequest(agent=FIRST_MAILBOX),
    "all": pb.SubscribeRequest(all_agents=True, max_batch=1000),
    "receipts": pb.SubscribeRequest(agent=RECEIPTS_SENDER, include_receipts=True, max_batch=10),
    "responses": pb.SubscribeRequest(agent=OUTBOX_SESSIONS[0]),
}
SEE_THE_LAST = ("mailbox", "all")  # those that get the last message


class LoadStreams:
    """Follows all streams.

    Args:
        context: the load's.
    """

    def __init__(self, context: LoadContext) -> None:
        self._context = context
        self._cursors = dict.fromkeys(STREAMS, "")
        self._caught_up = {name: asyncio.Event() for name in STREAMS}
        self._tasks = [asyncio.create_task(self._subscribe(name)) for name in STREAMS]

    async def wait_until_caught_up(self) -> None:
        """Returns when every stream is live for the first time."""
        for caught_up in self._caught_up.values():
            await asyncio.wait_for(caught_up.wait(), BOUND_SEC)

    async def see(self, message_id: str) -> None:
        """Waits until those who get it have seen a message."""
        deadline = time.monotonic() + BOUND_SEC
        while (late := [name for name in SEE_THE_LAST if self._cursors[name] < message_id]) and (  # noqa: ASYNC110
            time.monotonic() < deadline
        ):
            await asyncio.sleep(0.01)
        for name in late:
            self._context.trouble(f"subscriber {name}", f"does not see the last message within {BOUND_SEC:g} s")

    async def end(self) -> None:
        """Ends all streams."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _subscribe(self, name: str) -> None:
        while True:
            try:
                await self._follow(name)
            except Exception as error:  # noqa: BLE001 - nobody waits for this task, and nothing may be missed silently
                if not isinstance(error, grpc.aio.AioRpcError) or error.code() not in RETRYABLE:
                    self._context.trouble(f"subscriber {name}", error)
            await asyncio.sleep(0.03)

    async def _follow(self, name: str) -> None:
        """Follows one stream to its end, from behind what was seen."""
        request = pb.SubscribeRequest()
        request.CopyFrom(STREAMS[name])
        request.after_id = self._cursors[name]
        async for response in self._context.stubs.subscribe(request):
            for event in events_of(response):
                self._note(name, event)

    def _note(self, name: str, event: pb.SubscribeResponse) -> None:
        kind = event.WhichOneof("event")
        self._context.note("seen", stream=name, kind=kind, id=event.event_id, **_details(event))
        if kind != "going_away" or self._cursors[name]:
            self._cursors[name] = event.event_id
            self._caught_up[name].set()


def _details(event: pb.SubscribeResponse) -> dict[str, object]:
    match event.WhichOneof("event"):
        case "message":
            return {"recipient": event.message.recipient, "digest": digest_of(event.message.content)}
        case "receipt":
            return {"message": event.receipt.message_id, "state": event.receipt.state}
        case "command_response":
            response = event.command_response
            return {"session": response.session_id, "name": response.file_name, "number": response.body["number"]}
        case _:
            return {}
