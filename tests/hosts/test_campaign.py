"""Under mail in both directions, everything is killed at random moments; each message arrives once and in order.

MAILROOM_TEST_ROUNDS sets the number of faults; `make hosts` runs it long, and writes what it did into a file.
"""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random

import grpc
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import Client
from support.harness.waiting import chance, pause, rounds, wait_until
from support.hosts.bed import Bed, running_bed

PAIRS = (("a", "bob:b"), ("b", "ann:a"))
SEND_SEC = 0.01  # between two messages of one sender
RESULTS = "MAILROOM_HOSTS_RESULTS"  # a file that gets the figures of this run


class Sender(threading.Thread):
    """Sends numbered messages; repeats each, under its key, until it is accepted."""

    def __init__(self, bed: Bed, host: str, address: str, label: int) -> None:
        super().__init__(daemon=True)
        self._bed, self._host, self._address = bed, host, address
        self._label = label
        self._is_ending = threading.Event()

    def run(self) -> None:
        with closing(Client(self._bed.hosts[self._host].daemon.address)) as client:
            number = 0
            while not self._is_ending.wait(SEND_SEC):
                content = f"{self._host}{self._label}-{number}"
                if self._is_accepted(client, content):
                    self._bed.accepted.append((self._host, self._address, content))
                    number += 1

    def _is_accepted(self, client: Client, content: str) -> bool:
        request = pb.SendMessageRequest(recipient=self._address, sender="amy", content=content, idempotency_key=content)
        with suppress(grpc.RpcError):
            client.call("SendMessage", request, timeout=5.0)
            return True
        return False

    def end(self) -> None:
        self._is_ending.set()
        self.join()


@contextmanager
def traffic(bed: Bed, label: int) -> Generator[None]:
    senders = [Sender(bed, host, address, label) for host, address in PAIRS]
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        for sender in senders:
            sender.end()


def inject(bed: Bed, random: Random) -> str:
    """Injects one fault; returns its name."""
    host = random.choice(sorted(bed.hosts))
    fault = random.choice(
        ["relay", "relay", "mailbox", "command-queue", "daemon", "broker", "broker", "store", "hang", "relay hangs"]
    )
    daemon = bed.hosts[host].daemon
    match fault:
        case "relay" | "mailbox" | "command-queue":
            daemon.wait_replaced(daemon.signal_workers([fault], signal.SIGKILL))
        case "daemon":
            daemon.kill_supervisor()
            pause(random.uniform(0.0, 2.0))
            daemon.start()
        case "broker":
            bed.broker.kill()
            pause(random.uniform(0.0, 3.0))
            bed.broker.start()
        case "store":
            bed.broker.lose_store()
            bed.broker.start()
        case "hang":
            bed.broker.pause()
            pause(random.uniform(0.5, 4.0))
            bed.broker.resume()
        case _:
            before = daemon.signal_workers(["relay"], signal.SIGSTOP)
            pause(0.5)
            with suppress(ProcessLookupError):  # it may have been replaced
                os.kill(before["relay"], signal.SIGCONT)
    return fault if fault in ("broker", "store", "hang") else f"{fault} of {host}"


def test_mail_survives_faults_at_random_moments() -> None:
    random = chance("hosts")
    faults: Counter[str] = Counter()
    with running_bed("a", "b") as bed:
        for number in range(rounds()):
            with traffic(bed, number):
                for _ in range(5):
                    pause(random.uniform(0.2, 2.0))
                    faults[inject(bed, random)] += 1
            wait_until(lambda: all(map(bed.answers, bed.hosts)), "both daemons answer")
            bed.wait_at_rest()
        accepted = len(bed.accepted)
    assert accepted > 20 * rounds()
    if path := os.environ.get(RESULTS):
        found = {"messages": accepted, "lost": 0, "doubled": 0, "faults": dict(sorted(faults.items()))}
        Path(path).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
