"""Load — senders, readers and subscribers in a process of their own, which note down all that they are told.

A program: it ends when its standard input does, once every sender has its answer (or its patience is over) and the
subscribers have seen the last message. Each note is a line of JSON, written at once, so that nothing is lost whoever
dies. `run_load` runs it beside a test. It speaks by raw stubs: the daemon is tested here, not the SDK.
"""

__all__ = ["Load", "LoadPlan", "digest_of", "run_load"]

import asyncio
import hashlib
import itertools
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from mailroom.v1 import mailroom_pb2 as pb
from support.contract import RETRYABLE, AsyncStubs, async_stubs
from support.waiting import BOUND_SEC, wait_until

FIRST_MAILBOX = "r0"  # has a subscriber of its own, and gets the last message
DEADLINES_SEC = (0.3, 1.0, 3.0, 10.0)  # short ones make retries meet the first attempt on its way
LARGE_CHARACTERS = 100_000  # above what one packet of a queue carries
ORDER_EVERY_SEC = 0.05  # how often the database's newest ids are looked at
AGAIN_SEC = (0.02, 0.1)  # between two attempts


@dataclass(frozen=True)
class LoadPlan:
    """What to do.

    Attributes:
        mailboxes: r0 is subscribed to; of the others every second one has a reader.
        sends_per_sec: of all senders together.
        patience_sec: how long a send is repeated after the end of the load.
    """

    address: str
    directory: str
    database: str
    seed: int
    senders: int = 24
    mailboxes: int = 8
    sends_per_sec: float = 400.0
    patience_sec: float = 15.0


class Load:
    """A load that runs, seen by the test: its notes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read = 0
        self.acknowledged = 0

    def wait_for_progress(self, sends: int = 20) -> None:
        """Waits until so many sends that began from now on have been acknowledged."""
        begun_after = time.time()
        self._take(float("inf"))
        goal = self.acknowledged + sends
        wait_until(lambda: self._take(begun_after) >= goal, f"{sends} new sends are acknowledged")

    def _take(self, begun_after: float) -> int:
        with (self.directory / "sends.jsonl").open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            self.acknowledged += begun_after == float("inf") or json.loads(line)["begun"] > begun_after
        return self.acknowledged


@contextmanager
def run_load(plan: LoadPlan) -> Generator[Load]:
    """Runs a load while the context lasts, and waits for its good end."""
    directory = Path(plan.directory)
    directory.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "support.load", json.dumps(asdict(plan))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GRPC_ENABLE_FORK_SUPPORT": "0"},
        stdin=subprocess.PIPE,
    )
    assert process.stdin is not None
    try:
        wait_until(
            lambda: (directory / "started").exists() or process.poll() is not None, "the load's subscribers listen"
        )
        yield Load(directory)
    except BaseException:
        process.kill()
        process.wait(BOUND_SEC)
        raise
    finally:
        process.stdin.close()
    code = process.wait(plan.patience_sec + 2 * BOUND_SEC)
    assert code == 0, f"the load ended with {code}"


def digest_of(content: str) -> str:
    """Returns what the notes have in place of a content."""
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()


class _Notes:
    """The files of notes, by name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, TextIO] = {}

    def note(self, file: str, **row: object) -> None:
        """Appends one line."""
        if file not in self._files:
            self._files[file] = (self._directory / f"{file}.jsonl").open("a", buffering=1)
        self._files[file].write(json.dumps(row) + "\n")

    def trouble(self, who: str, error: Exception) -> None:
        """Notes what must not happen."""
        said = f"{error.code().name}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else repr(error)
        self.note("troubles", who=who, said=said)


class _Mailing:
    """One run of the load."""

    def __init__(self, plan: LoadPlan, stubs: AsyncStubs) -> None:
        self._plan = plan
        self._stubs = stubs
        self._notes = _Notes(Path(plan.directory))
        self._ending = asyncio.Event()
        self._give_up_at = float("inf")
        self._caught_up = {name: asyncio.Event() for name in ("mailbox", "all")}
        self._cursors = {"mailbox": "", "all": ""}

    async def run(self) -> None:
        """Runs until standard input ends, then to the good end."""
        for name in ("sends", "troubles"):
            (Path(self._plan.directory) / f"{name}.jsonl").touch()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._ending.set)
        beside = [asyncio.create_task(self._subscribe(name)) for name in self._cursors]
        beside.append(asyncio.create_task(self._watch_order()))
        for caught_up in self._caught_up.values():
            await asyncio.wait_for(caught_up.wait(), BOUND_SEC)
        (Path(self._plan.directory) / "started").touch()
        readers = [asyncio.create_task(self._read(f"r{number}")) for number in range(1, self._plan.mailboxes, 2)]
        senders = [asyncio.create_task(self._send_on(number)) for number in range(self._plan.senders)]
        await self._ending.wait()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        self._give_up_at = time.monotonic() + self._plan.patience_sec
        await asyncio.gather(*senders, *readers)
        await self._see_the_last()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    # -- senders --------------------------------------------------------------------------------------------------

    async def _send_on(self, number: int) -> None:
        chance = random.Random(f"{self._plan.seed} sender {number}")
        pause_sec = self._plan.senders / self._plan.sends_per_sec
        count = itertools.count()
        while not self._ending.is_set():
            burst = 25 if chance.random() < 0.01 else 1
            await asyncio.gather(*(self._send(f"s{number}", next(count), chance) for _ in range(burst)))
            await asyncio.sleep(chance.expovariate(1 / pause_sec) * burst)

    async def _send(self, sender: str, number: int, chance: random.Random) -> None:
        key = f"{sender}-{number}"
        size = LARGE_CHARACTERS if chance.random() < 0.005 else chance.randrange(400)
        request = pb.SendMessageRequest(
            recipient=f"r{chance.randrange(self._plan.mailboxes)}",
            sender=sender,
            content=f"{key} äé✉ " + "x" * size,
            idempotency_key=key if chance.random() < 0.9 else "",
        )
        if not request.idempotency_key:  # once only, and with patience: the gateway repeats it by itself
            await self._attempt(request, 20.0, again=False)
        elif await self._send_until_answered(request, chance) and chance.random() < 0.05:
            await self._send_until_answered(request, chance, again=True)

    async def _send_until_answered(
        self, request: pb.SendMessageRequest, chance: random.Random, *, again: bool = False
    ) -> bool:
        while time.monotonic() < self._give_up_at:
            done = await self._attempt(request, chance.choice(DEADLINES_SEC), again=again)
            if done is not None:
                return done
            await asyncio.sleep(chance.uniform(*AGAIN_SEC))
        self._notes.note("unresolved", key=request.idempotency_key)
        return False

    async def _attempt(self, request: pb.SendMessageRequest, deadline_sec: float, *, again: bool) -> bool | None:
        """Sends once; returns None where it should be sent again."""
        begun = time.time()
        try:
            answer = await self._stubs.send(request, timeout=deadline_sec)
        except grpc.aio.AioRpcError as error:
            if error.code() in RETRYABLE:
                return None
            self._notes.trouble(f"sender {request.sender}", error)
            return False
        self._notes.note(
            "sends",
            key=request.idempotency_key,
            id=answer.message.id,
            sender=request.sender,
            recipient=request.recipient,
            digest=digest_of(request.content),
            answered_digest=digest_of(answer.message.content),
            state=answer.delivery.state,
            again=again,
            begun=begun,
            took=time.time() - begun,
        )
        return True

    # -- readers --------------------------------------------------------------------------------------------------

    async def _read(self, agent: str) -> None:
        """Checks the inbox and acknowledges what it likes; a part of the mail is never acknowledged."""
        chance = random.Random(f"{self._plan.seed} reader {agent}")
        while not self._ending.is_set():
            await self._read_once(agent, chance)
            await asyncio.sleep(chance.uniform(0.01, 0.1))

    async def _read_once(self, agent: str, chance: random.Random) -> None:
        request = pb.CheckInboxRequest(
            agent=agent,
            limit=chance.choice((1, 20, 300)),
            wait=Duration(seconds=1),
            unoffered_only=chance.random() < 0.8,
        )
        found = await self._retried(lambda: self._stubs.check_inbox(request, timeout=3.0), f"reader {agent}")
        if found is None:
            return
        for message in found.messages:
            self._notes.note("handed", agent=agent, id=message.id, digest=digest_of(message.content))
        wanted = [message.id for message in found.messages if (int(message.id, 16) >> 20) % 8]  # by the millisecond
        if not wanted:
            return
        for number in wanted:
            self._notes.note("asked", agent=agent, id=number)
        order = pb.AcknowledgeMessagesRequest(agent=agent, message_ids=wanted)
        done = await self._retried(lambda: self._stubs.acknowledge(order, timeout=5.0), f"reader {agent}")
        if done is None:
            return
        for number in done.acknowledged_ids:
            self._notes.note("acknowledged", agent=agent, id=number)
        if list(done.acknowledged_ids) != wanted:
            self._notes.note("troubles", who=f"reader {agent}", said=f"was handed what is unknown: {done.unknown_ids}")

    async def _retried(self, attempt: Any, who: str) -> Any:
        while time.monotonic() < self._give_up_at:
            try:
                return await attempt()
            except grpc.aio.AioRpcError as error:
                if error.code() not in RETRYABLE:
                    self._notes.trouble(who, error)
                    return None
            await asyncio.sleep(0.05)
        return None

    # -- subscribers ----------------------------------------------------------------------------------------------

    async def _subscribe(self, name: str) -> None:
        while True:
            try:
                await self._follow(name)
            except grpc.aio.AioRpcError as error:
                if error.code() not in RETRYABLE:
                    self._notes.trouble(f"subscriber {name}", error)
            await asyncio.sleep(0.03)

    async def _follow(self, name: str) -> None:
        """Follows one stream to its end, from behind what was seen."""
        request = pb.SubscribeRequest(after_id=self._cursors[name])
        if name == "all":
            request.all_agents = True
        else:
            request.agent = FIRST_MAILBOX
        async for event in self._stubs.subscribe(request):
            kind = event.WhichOneof("event")
            row = {"stream": name, "kind": kind, "id": event.event_id}
            if kind == "message":
                row |= {"recipient": event.message.recipient, "digest": digest_of(event.message.content)}
            self._notes.note("seen", **row)
            if kind != "going_away" or self._cursors[name]:
                self._cursors[name] = event.event_id
                self._caught_up[name].set()

    async def _see_the_last(self) -> None:
        """Sends one message more, behind all others, and waits until the subscribers have seen it."""
        chance = random.Random(f"{self._plan.seed} last")
        self._give_up_at = time.monotonic() + self._plan.patience_sec
        request = pb.SendMessageRequest(recipient=FIRST_MAILBOX, sender="last", content="last", idempotency_key="last")
        if not await self._send_until_answered(request, chance):
            self._notes.note("troubles", who="sender last", said="the last message is never acknowledged")
            return
        answer = await self._retried(lambda: self._stubs.send(request, timeout=5.0), "sender last")
        deadline = time.monotonic() + BOUND_SEC
        while answer and min(self._cursors.values()) < answer.message.id and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    # -- the database's order -------------------------------------------------------------------------------------

    async def _watch_order(self) -> None:
        """Notes the ids above the highest one so far, as they appear in the database."""
        highest = 0
        while True:
            with suppress(sqlite3.Error):
                connection = sqlite3.connect(f"file:{self._plan.database}?mode=ro", uri=True, timeout=0.0)
                try:
                    rows = connection.execute("SELECT id FROM messages WHERE id > ? ORDER BY id", (highest,)).fetchall()
                finally:
                    connection.close()
                if rows:
                    highest = rows[-1][0]
                    self._notes.note("committed", ids=[number for (number,) in rows])
            await asyncio.sleep(ORDER_EVERY_SEC)


async def _main(plan: LoadPlan) -> None:
    channel, stubs = async_stubs(plan.address)
    async with channel:
        await _Mailing(plan, stubs).run()


if __name__ == "__main__":
    asyncio.run(_main(LoadPlan(**json.loads(sys.argv[1]))))
