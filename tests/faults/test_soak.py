"""Everything at once, for a while: what the daemon takes of the machine stands still.

MAILROOM_SOAK_SEC says for how long, in seconds: 45 if not given, half an hour in `make soak`. What the daemon keeps by
number only (positions of the newest messages, agents without mail, pages of the database, announcements) takes this
load some twenty minutes to fill; a long soak fills it first, so that what grows afterwards is a leak.
"""

import itertools
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psutil
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.flood import FloodPlan, flood
from support.faults.footprint import Footprint, footprint
from support.harness.client import Client, connect, duration, send_request
from support.harness.deployment import Deployment, running_deployment
from support.harness.raw_http2 import raw_connection
from support.harness.raw_streams import raw_streams
from support.harness.waiting import chance, pause

SOAK_SEC = float(os.environ.get("MAILROOM_SOAK_SEC") or 45)
pytestmark = [pytest.mark.faults, pytest.mark.timeout(SOAK_SEC + 300)]

MAILBOXES = 10
GROWN_BYTES, GROWN_DESCRIPTORS, GROWN_THREADS = 8 << 20, 15, 3  # between the second and the last third, at most
SAMPLE_SEC = 0.25
IS_LONG = SOAK_SEC >= 600  # then what is kept by number is filled first: by more than ...
FIRST_MESSAGES = 60_000  # ... 2 x 16,384 positions and 16 MiB of pages
FIRST_NAMES = 25_000  # ... 20,000 agents without mail
REPORT_SEC = 60  # a line for each process, in a long soak
Work = Callable[[Deployment, Client, int], None]


def read_and_acknowledge(_: Deployment, client: Client, turn: int) -> None:
    agent = f"m{turn % MAILBOXES}"
    found = client.check(agent, limit=1000).messages
    client.acknowledge(agent, [one.id for one in found[: len(found) - 1]])


def come_and_go(deployment: Deployment, _: Client, turn: int) -> None:
    with raw_streams(deployment.target, [f"m{number % MAILBOXES}" for number in range(50)]):
        pause(0.1 * (turn % 3))


def poll_under_made_up_names(_: Deployment, client: Client, turn: int) -> None:
    client.check(f"made-up-{turn}", wait_sec=0.05 if turn % 20 == 0 else None)


def leave_responses(deployment: Deployment, _: Client, turn: int) -> None:
    directory = deployment.root / "outbox" / f"session-{turn % 20}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{turn}.tmp").write_text(json.dumps({"turn": turn}))
    (directory / f"{turn}.tmp").rename(directory / f"{turn}.json")


def rename_sessions(_: Deployment, client: Client, turn: int) -> None:
    alias = pb.SetAliasRequest(agent=f"m{turn % MAILBOXES}", session=f"session-{turn}", ttl=duration(0.2))
    client.call("SetAlias", alias)


def send_in_bulk_and_clear(_: Deployment, client: Client, turn: int) -> None:
    name = f"bulk-{turn % 7}"
    client.send_many(send_request(name, "x" * 2000, idempotency_key=f"{turn}-{number}") for number in range(50))
    client.page(name, query="xxx", page_size=10)
    client.call("ClearMailbox", pb.ClearMailboxRequest(agent=name))


def speak_nonsense(deployment: Deployment, _: Client, turn: int) -> None:
    with raw_connection(deployment.target) as raw:
        raw.say(bytes([turn % 256]) * 100)


WORKS: Sequence[tuple[Work, float]] = (
    (read_and_acknowledge, 0.1),
    (come_and_go, 0.5),
    (poll_under_made_up_names, 0.05),
    (leave_responses, 0.1),
    (rename_sessions, 0.2),
    (send_in_bulk_and_clear, 0.5),
    (speak_nonsense, 0.2),
)


@contextmanager
def all_at_work(deployment: Deployment) -> Generator[None]:
    """Does all of the works, over and over, while the context lasts; what fails in one fails the test."""
    ended = threading.Event()

    def go_on(work: Work, pause_sec: float) -> int:
        with connect(deployment.target) as client:
            for turn in itertools.count(1):
                work(deployment, client, turn)
                if ended.wait(pause_sec):
                    return turn
        raise AssertionError

    with ExitStack() as stack:
        stack.enter_context(flood(FloodPlan(deployment.target, senders=10, mailboxes=MAILBOXES, pause_sec=0.1)))
        threads = stack.enter_context(ThreadPoolExecutor(len(WORKS)))
        going = [threads.submit(go_on, *one) for one in WORKS]
        try:
            yield
        finally:
            ended.set()
        print({work.__name__: one.result() for (work, _), one in zip(WORKS, going, strict=True)})


def fill_what_is_kept_by_number(deployment: Deployment) -> None:
    """Fills what would otherwise fill up during the soak, and count as growth."""
    names = [f"first-{number}" for number in range(7)]
    with connect(deployment.target) as client:
        with raw_streams(deployment.target, names):
            for turn in range(FIRST_MESSAGES // 5000):
                client.fill(names[turn % 7], 5000, "first " * 50 + "{}")
                client.call("ClearMailbox", pb.ClearMailboxRequest(agent=names[turn % 7]))
        for number in range(FIRST_NAMES):
            client.check(f"first-name-{number}")


def report(family: Sequence[psutil.Process], began_sec: float) -> None:
    """Says what each process takes now, for who has to find out which one grew."""
    each = ", ".join(f"{one.name()}: {footprint([one])}" for one in family)
    print(f"{time.monotonic() - began_sec:5.0f} s  {footprint(family)}  ({each})", flush=True)


def typical(samples: Sequence[Footprint]) -> Footprint:
    """Returns the medians, of a part of the time."""
    return Footprint(*(int(statistics.median(values)) for values in zip(*samples, strict=True)))


def test_what_the_daemon_takes_stands_still_under_everything_at_once() -> None:
    chance("soak")
    flags = ("--keep-read", "2s", "--sweep-every", "500ms", "--log-level", "warning")
    with running_deployment(*flags) as deployment:
        if IS_LONG:
            fill_what_is_kept_by_number(deployment)
        with all_at_work(deployment):
            samples: list[Footprint] = []
            began, reported = time.monotonic(), 0.0
            family = deployment.family()
            while time.monotonic() < began + SOAK_SEC:
                samples.append(footprint(family))
                if IS_LONG and time.monotonic() >= reported + REPORT_SEC:
                    reported = time.monotonic()
                    report(family, began)
                pause(SAMPLE_SEC)
        third = len(samples) // 3
        middle, last = typical(samples[third : 2 * third]), typical(samples[2 * third :])
        print(f"after {SOAK_SEC / 3:g} s: {middle}; at the end: {last}")
        assert all(one.restarts == 0 for one in deployment.status().workers), deployment.log()
        assert last.memory_bytes - middle.memory_bytes < GROWN_BYTES
        assert last.descriptors - middle.descriptors < GROWN_DESCRIPTORS
        assert last.threads - middle.threads < GROWN_THREADS
