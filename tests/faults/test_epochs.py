"""Epochs: workers die while the queues between them hold work, at chosen moments.

Each test has a flood of sends under way, with keys or without, and a subscriber of every mailbox. Afterwards the
checker judges: no id passed by a cursor appears later, no id is issued twice, no key gets two ids.
"""

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.checker import Evidence, Sent, Stream, broken_promises, gather
from support.faults.load import digest_of
from support.harness.contract import (
    RETRYABLE,
    AsyncStubs,
    BlockingStubs,
    async_stubs,
    blocking_stubs,
    error_reason,
    events_of,
)
from support.harness.daemon import Daemon, short_directory
from support.harness.waiting import BOUND_SEC, chance, pause, rounds, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

RUN = 200  # messages that are sent at once
LONG_RUN = 500  # takes the command-queue several turns
MAILBOXES = 4
MAX_BATCH = 20  # events in one response to the subscriber
PATIENT = ("--stuck-after", "8s")  # who is stopped by the test is not replaced meanwhile


@dataclass
class Flood:
    """Sends that were begun at once, and their answers."""

    requests: list[pb.SendMessageRequest] = field(default_factory=list[pb.SendMessageRequest])
    futures: list["grpc.Future[pb.SendMessageResponse]"] = field(
        default_factory=list["grpc.Future[pb.SendMessageResponse]"]
    )

    def answers(self) -> list[pb.SendMessageResponse | grpc.RpcError]:
        """Waits for every answer or failure."""
        return [answer_of(future) for future in self.futures]


class Follower:
    """A subscriber of every mailbox that resumes after the last message that it saw.

    It runs in a thread, on gRPC's asyncio client: the blocking one may not end a cancelled stream (docs/facts.md).
    """

    def __init__(self, daemon: Daemon) -> None:
        self.seen: list[tuple[int, str, str]] = []
        self.start = -1
        self._daemon = daemon
        self._loop = asyncio.new_event_loop()
        self._following = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._following,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._following.cancel)
        self._thread.join(BOUND_SEC)
        assert not self._thread.is_alive()
        self._loop.close()

    async def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            while True:
                channel, calls = async_stubs(self._daemon.address)
                async with channel:
                    with suppress(grpc.RpcError):
                        await self._follow(calls)
                await asyncio.sleep(0.02)

    async def _follow(self, calls: AsyncStubs) -> None:
        cursor = self.seen[-1][0] if self.seen else self.start
        after_id = f"{cursor:016x}" if cursor >= 0 else ""
        request = pb.SubscribeRequest(all_agents=True, after_id=after_id, max_batch=MAX_BATCH)
        async for response in calls.subscribe(request, timeout=4 * BOUND_SEC):
            for event in events_of(response):
                self._see(event)

    def _see(self, event: pb.SubscribeResponse) -> None:
        if event.HasField("message"):
            message = event.message
            self.seen.append((int(message.id, 16), message.recipient, digest_of(message.content)))
        elif self.start < 0 and event.HasField("caught_up"):
            self.start = int(event.event_id, 16)


@dataclass
class Scene:
    """A daemon, calls on it, and what a subscriber of every mailbox sees."""

    daemon: Daemon
    calls: BlockingStubs
    follower: Follower
    sent: list[Sent] = field(default_factory=list[Sent])
    number: int = 0

    def flood(
        self, count: int, *, keys: bool = True, timeout_sec: float = BOUND_SEC, mailboxes: int = MAILBOXES
    ) -> Flood:
        """Begins sends at once, to the mailboxes in turn."""
        flood = Flood()
        for _ in range(count):
            self.number += 1
            request = pb.SendMessageRequest(
                recipient=f"r{self.number % mailboxes}",
                sender="s",
                content=f"content {self.number}",
                idempotency_key=f"key {self.number}" if keys else "",
            )
            flood.requests.append(request)
            flood.futures.append(self.calls.start_send(request, timeout=timeout_sec))
        return flood

    def note(self, request: pb.SendMessageRequest, answer: pb.SendMessageResponse) -> None:
        """Records an acknowledged send, for the checker."""
        digest, answered = digest_of(request.content), digest_of(answer.message.content)
        number, state = int(answer.message.id, 16), answer.delivery.state
        self.sent.append(Sent(request.idempotency_key, number, "s", request.recipient, digest, answered, state))

    def require_answers(self, flood: Flood) -> None:
        """Every send of the flood is answered OK, however long that takes within its deadline."""
        for request, answer in zip(flood.requests, flood.answers(), strict=True):
            assert isinstance(answer, pb.SendMessageResponse), f"{request.content}: {answer!r}"
            self.note(request, answer)

    def send_again(self, flood: Flood) -> None:
        """Sends the flood once more, with the same keys; every send is answered OK."""
        again = [self.calls.start_send(request, timeout=BOUND_SEC, wait_for_ready=True) for request in flood.requests]
        self.require_answers(Flood(flood.requests, again))

    def stored(self) -> int:
        """How many messages are in the database."""
        with closing(sqlite3.connect(f"file:{self.daemon.database}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM messages").fetchone()[0]

    def check(self) -> Evidence:
        """Asks the checker, when the subscriber has seen all that is stored."""
        newest = max(gather(self.daemon, None).messages, default=0)
        seen = self.follower.seen
        wait_until(lambda: seen and seen[-1][0] >= newest, "the subscriber has seen the newest message")
        evidence = gather(self.daemon, None)
        evidence.sends = self.sent
        evidence.streams = [Stream(None, self.follower.start, list(seen))]
        assert not broken_promises(evidence)
        return evidence


def answer_of(future: "grpc.Future[pb.SendMessageResponse]") -> pb.SendMessageResponse | grpc.RpcError:
    try:
        return future.result()
    except grpc.RpcError as error:
        return error


@contextmanager
def scene(*flags: str) -> Generator[Scene]:
    """Gives a scene; afterwards the checker judges, also after a restart, and no process is left."""
    with short_directory() as directory, ExitStack() as ends:
        daemon = Daemon(directory, flags)
        try:
            daemon.start()
            channel, calls = blocking_stubs(daemon.address)
            with channel:
                follower = Follower(daemon)
                ends.callback(follower.end)
                wait_until(lambda: follower.start >= 0, "the subscriber listens")
                this = Scene(daemon, calls, follower)
                yield this
                this.check()
                assert daemon.stop() == 0
                daemon.start()
                this.check()
            assert daemon.stop() == 0
            daemon.assert_no_process_left()
        except BaseException:
            print(daemon.log()[-6000:])
            raise
        finally:
            daemon.kill_everything()


def interrupt(this: Scene, name: str, number: int) -> dict[str, int]:
    return this.daemon.signal_workers([name], number)


def test_the_command_queue_dies_with_a_part_of_a_run_committed() -> None:
    random_numbers = chance("part of a run")
    split = 0
    with scene() as this:
        for _ in range(rounds()):
            before = this.stored()
            pids = interrupt(this, "command-queue", signal.SIGSTOP)
            flood = this.flood(LONG_RUN if random_numbers.random() < 0.3 else RUN, keys=random_numbers.random() < 0.5)
            pause(random_numbers.uniform(0.0, 0.3))
            with suppress(ProcessLookupError):  # on a busy machine the supervisor has replaced it as stuck
                os.kill(pids["command-queue"], signal.SIGCONT)
                pause(random_numbers.uniform(0, 0.02))
                os.kill(pids["command-queue"], signal.SIGKILL)
            committed = this.stored() - before
            split += 0 < committed < len(flood.requests)
            this.daemon.wait_replaced(pids)
            this.require_answers(flood)
            assert this.stored() - before == len(flood.requests), "each is stored once"
            this.check()
    print(f"{split} of {rounds()} runs were split by the kill")


def test_the_command_queue_dies_between_its_commit_and_its_report() -> None:
    silent = 0
    with scene() as this:
        for _ in range(rounds()):
            before = this.stored()
            pids = interrupt(this, "command-queue", signal.SIGSTOP)
            # the directories of many mailboxes take their time, between the commit and the report
            flood = this.flood(60, mailboxes=10**6)
            pause(0.3)
            os.kill(pids["command-queue"], signal.SIGCONT)
            wait_until(lambda before=before: this.stored() > before, "something is committed", step_sec=0.0)
            os.kill(pids["command-queue"], signal.SIGKILL)
            silent += not all(future.done() for future in flood.futures)
            this.daemon.wait_replaced(pids)
            this.require_answers(flood)
            assert this.stored() - before == len(flood.requests), "each is stored once"
            this.check()
    print(f"{silent} of {rounds()} kills came before the last report")


def test_the_mailbox_dies_with_writes_under_way() -> None:
    random_numbers = chance("writes under way")
    with scene(*PATIENT) as this:
        for _ in range(rounds()):
            before = this.stored()
            stopped = interrupt(this, "command-queue", signal.SIGSTOP)
            flood = this.flood(random_numbers.choice((RUN, LONG_RUN)), keys=random_numbers.random() < 0.5)
            pause(random_numbers.uniform(0.0, 0.4))
            pids = interrupt(this, "mailbox", signal.SIGKILL)
            pause(random_numbers.uniform(0.0, 0.6))  # with and without its successor waiting at the fence
            assert not any(future.done() for future in flood.futures), "nothing is answered that is not durable"
            os.kill(stopped["command-queue"], signal.SIGCONT)
            this.daemon.wait_replaced(pids)
            this.require_answers(flood)
            assert this.stored() - before == len(flood.requests), "each is stored once"
            this.check()


def test_the_gateway_dies_with_calls_waiting() -> None:
    random_numbers = chance("calls waiting")
    with scene(*PATIENT) as this:
        for _ in range(rounds()):
            before = this.stored()
            stopped = interrupt(this, random_numbers.choice(("command-queue", "mailbox")), signal.SIGSTOP)
            flood = this.flood(LONG_RUN)
            pause(random_numbers.uniform(0.0, 0.4))
            pids = interrupt(this, "gateway", signal.SIGKILL)
            pause(random_numbers.uniform(0.0, 0.8))  # with and without its successor at the door
            for pid in stopped.values():
                os.kill(pid, signal.SIGCONT)
            for answer in flood.answers():
                assert isinstance(answer, grpc.RpcError), "nobody is left who could answer"
                assert answer.code() in RETRYABLE
            this.daemon.wait_replaced(pids)
            this.send_again(flood)
            assert this.stored() - before == len(flood.requests), "each is stored once"
            this.check()


def test_mailbox_and_command_queue_die_in_any_order_while_one_of_them_stands_still() -> None:
    random_numbers = chance("any order")
    with scene(*PATIENT) as this:
        for _ in range(rounds()):
            before = this.stored()
            names = random_numbers.sample(("command-queue", "mailbox"), 2)
            pids = interrupt(this, names[0], signal.SIGSTOP)
            flood = this.flood(RUN, keys=random_numbers.random() < 0.5)
            pause(random_numbers.uniform(0.0, 0.2))
            pids |= interrupt(this, names[1], signal.SIGKILL)
            pause(random_numbers.uniform(0.0, 0.5))
            os.kill(pids[names[0]], random_numbers.choice((signal.SIGCONT, signal.SIGKILL)))
            pause(random_numbers.uniform(0.0, 0.02))
            with suppress(ProcessLookupError):  # it was killed above
                os.kill(pids[names[0]], signal.SIGKILL)
            this.daemon.wait_replaced(pids)
            this.require_answers(flood)
            assert this.stored() - before == len(flood.requests), "each is stored once"
            this.check()


def test_the_same_key_sent_many_times_at_once_is_one_message_with_one_answer() -> None:
    with scene(*PATIENT) as this:
        for _ in range(rounds()):
            before = this.stored()
            stopped = interrupt(this, "command-queue", signal.SIGSTOP)
            first = this.flood(1)
            again = [this.calls.start_send(first.requests[0], timeout=BOUND_SEC) for _ in range(20)]
            pause(0.1)
            os.kill(stopped["command-queue"], signal.SIGCONT)
            answers = Flood(first.requests * 20, again).answers()
            (original,) = first.answers()
            assert isinstance(original, pb.SendMessageResponse)
            for answer in answers:
                assert isinstance(answer, pb.SendMessageResponse)
                assert (answer.message, answer.delivery.state) == (original.message, original.delivery.state)
            this.note(first.requests[0], original)
            assert this.stored() - before == 1


def test_a_send_fails_with_a_reason_before_its_deadline_and_may_be_repeated() -> None:
    with scene(*PATIENT) as this:
        for name in ("command-queue", "mailbox"):
            before = this.stored()
            stopped = interrupt(this, name, signal.SIGSTOP)
            began = time.monotonic()
            flood = this.flood(20, timeout_sec=1.0)
            for answer in flood.answers():
                assert isinstance(answer, grpc.RpcError)
                assert (answer.code(), error_reason(answer)) == (grpc.StatusCode.UNAVAILABLE, "WORKER_RESTARTING")
            assert 0.5 < time.monotonic() - began < 1.0
            os.kill(stopped[name], signal.SIGCONT)
            this.send_again(flood)
            assert this.stored() - before == 20


def test_a_reader_that_holds_the_database_for_long_is_no_reason_to_give_up() -> None:
    with scene() as this:
        this.require_answers(this.flood(20))
        with closing(sqlite3.connect(f"file:{this.daemon.database}?mode=ro", uri=True)) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM messages").fetchone()
            this.require_answers(this.flood(20))
            pids = interrupt(this, "command-queue", signal.SIGKILL)
            flood = this.flood(20)
            this.daemon.wait_replaced(pids)
            this.require_answers(flood)
