"""LoadContext — what every habit of the load shares: the stubs, the notes, and sending until there is an answer.

Owns the notes: each is a line of JSON, written at once, so that nothing is lost when a process dies. Not here: who
sends, reads, takes and clears what (`load_habits`), the streams (`load_streams`).
"""

__all__ = ["DEADLINES_SEC", "LoadContext", "digest_of"]

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TextIO, TypeVar

import grpc
import grpc.aio
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.load_plan import LoadPlan
from support.harness.contract import RETRYABLE, AsyncStubs

DEADLINES_SEC = (0.3, 1.0, 3.0, 10.0)  # short ones make retries meet the first attempt on its way
AGAIN_SEC = (0.02, 0.1)  # between two attempts

Answered = TypeVar("Answered")


def digest_of(content: str) -> str:
    """Returns what the notes have in place of a content."""
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()


class LoadContext:
    """Notes, stubs, and the end of the load.

    Attributes:
        ending: set when the load is to end.
        give_up_at: when whatever is not answered is left, on the monotonic clock.
    """

    def __init__(self, plan: LoadPlan, stubs: AsyncStubs) -> None:
        self.plan = plan
        self.stubs = stubs
        self.ending = asyncio.Event()
        self.give_up_at = float("inf")
        self._directory = Path(plan.directory)
        self._files: dict[str, TextIO] = {}

    def chance(self, who: str) -> random.Random:
        """Returns a source of chance of its own for one habit."""
        return random.Random(f"{self.plan.seed} {who}")

    def note(self, file: str, **row: object) -> None:
        """Appends one line."""
        if file not in self._files:
            self._files[file] = (self._directory / f"{file}.jsonl").open("a", buffering=1)
        self._files[file].write(json.dumps(row) + "\n")

    def trouble(self, who: str, said: Exception | str) -> None:
        """Notes what must not happen."""
        if isinstance(said, grpc.aio.AioRpcError):
            said = f"{said.code().name}: {said.details()}"
        self.note("troubles", who=who, said=said if isinstance(said, str) else repr(said))

    async def send_until_answered(
        self, request: pb.SendMessageRequest, chance: random.Random, *, again: bool = False
    ) -> bool:
        """Sends, with the same key, until there is an answer; returns False where there is none, or a refusal."""
        while time.monotonic() < self.give_up_at:
            done = await self.attempt(request, chance.choice(DEADLINES_SEC), again=again)
            if done is not None:
                return done
            await asyncio.sleep(chance.uniform(*AGAIN_SEC))
        self.note("unresolved", key=request.idempotency_key)
        return False

    async def attempt(self, request: pb.SendMessageRequest, deadline_sec: float, *, again: bool) -> bool | None:
        """Sends once; returns None where it should be sent again."""
        begun = time.time()
        try:
            answer = await self.stubs.send(request, timeout=deadline_sec)
        except grpc.aio.AioRpcError as error:
            if error.code() in RETRYABLE:
                return None
            self.trouble(f"sender {request.sender}", error)
            return False
        self.note_sent(request, answer, begun, again=again)
        return True

    def note_sent(
        self, request: pb.SendMessageRequest, answer: pb.SendMessageResponse, begun: float, *, again: bool
    ) -> None:
        """Notes an acknowledged send. Where an alias leads, `to` is what its sender wrote."""
        self.note(
            "sends",
            key=request.idempotency_key,
            id=answer.message.id,
            sender=request.sender,
            to=request.recipient,
            recipient=answer.message.recipient,
            digest=digest_of(request.content),
            answered_digest=digest_of(answer.message.content),
            state=answer.delivery.state,
            ttl=request.HasField("ttl"),
            reply_by=request.HasField("reply_by"),
            again=again,
            begun=begun,
            ended=time.time(),
        )

    async def retried(self, attempt: Callable[[], Awaitable[Answered]], who: str) -> Answered | None:
        """Returns an answer, sought until the end; None where there is none, or a refusal."""
        while time.monotonic() < self.give_up_at:
            try:
                return await attempt()
            except grpc.aio.AioRpcError as error:
                if error.code() not in RETRYABLE:
                    self.trouble(who, error)
                    return None
            await asyncio.sleep(0.05)
        return None
