"""traffic — mail between the hosts of a bed while faults happen, and the notes of what was accepted.

Each host has a sender for each other host: numbered messages, each repeated under its key until it is accepted. One
mailbox is read and acknowledged, one never, so that it gets full and mail for it comes back, and what goes to the third
soon expires. A third kind of sender writes to its own host only, where nothing of the hub may be noticed.
"""

__all__ = ["Traffic"]

import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from random import Random

import grpc
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.model.ids import parse_id
from support.harness.client import Client, refusal_of, send_request
from support.harness.waiting import pause, wait_until
from support.hosts.evidence import Sent
from support.hosts.wide_bed import HOSTS, WideBed

SEND_SEC, LOCAL_SEC, READ_SEC = 0.06, 0.2, 0.5  # between two messages of one sender; between two looks
CALL_SEC = 5.0  # for a call while anything may be broken
LOCAL_CALL_SEC = 20.0  # for one that nothing may disturb, on a machine that is busy with faults
TTL_SEC = (0.5, 5.0)
LAST_SEC = 60.0  # for the last message of each sender to be accepted
MAILBOXES = ("bob",) * 6 + ("ann", "late")  # read; never read; expiring


class Traffic:
    """Senders and readers of all hosts.

    Args:
        bed: theirs; gets the notes.
        seed: of what is sent to whom.
    """

    def __init__(self, bed: WideBed, seed: int) -> None:
        self._bed = bed
        self._seed = seed
        self._is_ending = threading.Event()
        self._sending = {name: threading.Lock() for name in HOSTS}
        self._numbers = {(host, to): count() for host in HOSTS for to in HOSTS if host != to}
        self.local_sends = 0

    @contextmanager
    def running(self) -> Generator[None]:
        """Has mail sent and read meanwhile; when it ends, each message that was begun is accepted or refused."""
        self._is_ending.clear()
        works = [(self._send, pair) for pair in self._numbers]
        works += [(work, (host,)) for host in HOSTS for work in (self._send_locally, self._read)]
        threads = [threading.Thread(target=work, args=arguments, daemon=True) for work, arguments in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_ending.set()
            for thread in threads:
                thread.join(LAST_SEC)
            assert not any(thread.is_alive() for thread in threads), "a sender's last message was not accepted"

    @contextmanager
    def hushed(self, *hosts: str) -> Generator[None]:
        """Keeps hosts from sending; nothing of theirs is half accepted meanwhile."""
        with ExitStack() as stack:
            for host in hosts:
                stack.enter_context(self._sending[host])
            yield

    # -- what the threads do --------------------------------------------------------------------------------------

    def _send(self, host: str, to: str) -> None:
        chance = Random(f"{self._seed} {host} {to}")
        with closing(Client(self._bed.hosts[host].daemon.address)) as client:
            while not self._is_ending.wait(SEND_SEC * chance.uniform(0.5, 1.5)):
                number = next(self._numbers[host, to])
                mailbox = chance.choice(MAILBOXES)
                ttl_sec = chance.uniform(*TTL_SEC) if mailbox == "late" else None
                content = f"{host}{to}{number}"
                request = send_request(
                    f"{mailbox}:{to}", content, sender="amy", ttl_sec=ttl_sec, idempotency_key=content
                )
                with self._sending[host]:
                    answer = self._accepted(client, request)
                    if answer is not None:
                        message_id = parse_id(answer.message.id)
                        self._bed.sent.append(Sent(host, to, mailbox, content, number, message_id))

    def _accepted(self, client: Client, request: pb.SendMessageRequest) -> pb.SendMessageResponse | None:
        """Repeats a send until it is accepted; returns None if its mailbox is full."""
        deadline: float | None = None
        while deadline is None or time.monotonic() < deadline:
            try:
                answer: pb.SendMessageResponse = client.call("SendMessage", request, timeout=CALL_SEC)
            except grpc.RpcError as error:
                if "MAILBOX_FULL" in _reason(error):
                    return None
                pause(0.1)
            else:
                return answer
            if self._is_ending.is_set() and deadline is None:
                deadline = time.monotonic() + LAST_SEC / 2
        raise AssertionError(f"{request.content} was neither accepted nor refused")

    def _send_locally(self, host: str) -> None:
        with closing(Client(self._bed.hosts[host].daemon.address)) as client:
            while not self._is_ending.wait(LOCAL_SEC):
                begun = time.monotonic()
                try:
                    client.send("eve", "local", sender="amy", timeout=LOCAL_CALL_SEC)
                    self.local_sends += 1
                except grpc.RpcError as error:
                    if "MAILBOX_FULL" not in _reason(error) and not self._bed.was_harmed(host, begun):
                        self._bed.local_failures.append(f"{host}: {error.code().name}: {error.details()}")

    def _read(self, host: str) -> None:
        with closing(Client(self._bed.hosts[host].daemon.address)) as client:
            while not self._is_ending.wait(READ_SEC):
                for mailbox in ("bob", "eve"):
                    with suppress(grpc.RpcError):
                        request = pb.CheckInboxRequest(agent=mailbox, limit=200)
                        found: pb.CheckInboxResponse = client.call("CheckInbox", request, timeout=CALL_SEC)
                        if found.messages:
                            read = [message.id for message in found.messages]
                            acknowledged = pb.AcknowledgeMessagesRequest(agent=mailbox, message_ids=read)
                            client.call("AcknowledgeMessages", acknowledged, timeout=CALL_SEC)

    def wait_progress(self) -> None:
        """Waits until each host has accepted something more."""
        before = {host: self._accepted_by(host) for host in HOSTS}
        for host, number in before.items():
            wait_until(
                lambda host=host, number=number: self._accepted_by(host) > number, f"{host} accepts mail", LAST_SEC
            )

    def _accepted_by(self, host: str) -> int:
        return sum(sent.host == host for sent in list(self._bed.sent))


def _reason(error: grpc.RpcError) -> str:
    def again() -> None:
        raise error

    return refusal_of(again).reason
