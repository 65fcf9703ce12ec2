"""Somebody sets the clock: an hour back, a day forward. Order, unread mail, waits, keys and aliases stand it."""

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.core.host_directory import HostDirectory
from mailroomd.operator.hub.checking import check
from support.faults.moved_clock import MovedClock
from support.harness.client import duration, refusal_of
from support.harness.daemon import short_directory
from support.harness.deployment import Deployment, new_deployment
from support.harness.waiting import pause, wait_until
from support.hosts.bed import Bed

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(120)]

JUMPS = ("-1h", "+1d", "+0", "-1h", "+90d", "-1d")
LATE_SEC = 5.0  # that a busy machine may add to a wait


@contextmanager
def deployment_with_a_clock(tmp_path: Path, *flags: str) -> Generator[tuple[Deployment, MovedClock]]:
    clock = MovedClock(tmp_path / "clock")
    with new_deployment(*flags, environment=clock.environment()) as deployment:
        deployment.start()
        yield deployment, clock
        assert {one.name: one.restarts for one in deployment.status().workers} == {
            "mailbox": 0,
            "command-queue": 0,
            "gateway": 0,
        }
        assert deployment.stop() == 0


def test_ids_grow_and_nothing_is_missed_or_doubled_wherever_the_clock_goes(tmp_path: Path) -> None:
    with deployment_with_a_clock(tmp_path, "--max-restarts", "100/10") as (deployment, clock):
        stream = deployment.live("abc")
        sent = [deployment.send("abc", "now").message]
        for jump in JUMPS:
            clock.move(jump)
            sent += [deployment.send("abc", f"{jump} {number}").message for number in range(3)]
            deployment.kill_worker("mailbox")  # its successor goes on behind what was issued, not at the clock
            sent.append(deployment.send("abc", f"{jump} after a restart").message)
        ids = [one.id for one in sent]
        assert ids == sorted(set(ids))
        assert [one.id for one in stream.messages(len(ids))] == ids
        assert [one.id for one in deployment.check("abc", limit=1000).messages] == ids
        assert deployment.filed("abc") == ids
        assert sent[1].timestamp.seconds < sent[0].timestamp.seconds - 3000, "the time is the clock's, the order is not"
        stream.cancel()
        clock.move("+0")
        assert {one.name: one.restarts for one in deployment.status().workers}["mailbox"] == len(JUMPS)
        deployment.stop()
        clock.move("-1h")
        deployment.start()
        assert deployment.send("abc").message.id > ids[-1]


def test_retention_never_takes_unread_mail_however_far_the_clock_jumps(tmp_path: Path) -> None:
    with deployment_with_a_clock(tmp_path, "--sweep-every", "100ms") as (deployment, clock):
        ids = deployment.fill("abc", 20)
        deployment.acknowledge("abc", ids[:5])
        clock.move("+2d")
        wait_until(lambda: deployment.stats("abc").total == 15, "what was read is past its time")
        for jump in ("+4000d", "-1h", "+0"):
            clock.move(jump)
            pause(0.5)
            assert [one.id for one in deployment.check("abc").messages] == ids[5:]
            assert deployment.filed("abc") == ids[5:]
        assert deployment.send("abc").message.id > ids[-1]


def test_a_clock_beyond_what_can_be_stored_costs_no_worker_and_no_message(tmp_path: Path) -> None:
    with deployment_with_a_clock(tmp_path) as (deployment, clock):
        sent = [deployment.send("abc", "now").message]
        for jump in ("+80y", "+230y", "+0"):  # Linux and Python accept no clock after 2232 and 2262
            clock.move(jump)
            pause(0.5)
            sent += [deployment.send("abc", f"{jump} {number}", ttl_sec=6 * 86400).message for number in range(3)]
        ids = [one.id for one in sent]
        assert ids == sorted(set(ids))
        assert [one.id for one in deployment.check("abc").messages] == ids
        assert deployment.filed("abc") == ids
        assert sent[1].timestamp.ToDatetime().year == 2100
        assert deployment.file("abc", ids[4])["timestamp"].startswith("2100-01-01T")
        assert deployment.log().count("clock out of range") == 1, "it is logged once"


def test_waits_last_as_long_as_they_were_asked_to_and_end_when_mail_comes(tmp_path: Path) -> None:
    with deployment_with_a_clock(tmp_path) as (deployment, clock), ThreadPoolExecutor(3) as threads:
        for jump in ("-1h", "+1d", "+0"):
            begun = time.monotonic()
            patient = threads.submit(deployment.check, "nobody-writes", wait_sec=1.0)
            woken = threads.submit(deployment.check, f"woken{jump[1:]}", wait_sec=25.0)
            wait_until(lambda jump=jump: f"woken{jump[1:]}" in deployment.all_stats(), "they wait")
            clock.move(jump)
            assert not patient.result().messages
            assert 0.9 < time.monotonic() - begun < 1.0 + LATE_SEC
            sent = deployment.send(f"woken{jump[1:]}").message.id
            assert [one.id for one in woken.result().messages] == [sent]


def test_a_call_that_waits_for_a_worker_ends_by_its_deadline(tmp_path: Path) -> None:
    with (
        deployment_with_a_clock(tmp_path, "--stuck-after", "60") as (deployment, clock),
        ThreadPoolExecutor(2) as threads,
    ):
        deployment.send("abc")
        for jump in ("-1h", "+1d"):
            with deployment.stopped(deployment.pid_of("command-queue")):
                begun = time.monotonic()
                refused = threads.submit(refusal_of, lambda: deployment.send("abc", timeout=2.0))
                pause(0.2)
                clock.move(jump)
                refusal = refused.result()
            assert refusal.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            assert 1.0 < time.monotonic() - begun < 2.0 + LATE_SEC
            assert deployment.send("abc").message.id


def test_a_key_is_recognised_wherever_the_clock_goes_within_its_day(tmp_path: Path) -> None:
    with deployment_with_a_clock(tmp_path, "--sweep-every", "100ms") as (deployment, clock):
        first = deployment.send("abc", "once", idempotency_key="k").message.id
        for jump in ("-1h", "+23h", "+0"):
            clock.move(jump)
            pause(0.3)
            assert deployment.send("abc", "once", idempotency_key="k").message.id == first
        assert deployment.stats("abc").total == 1


def test_an_alias_ends_by_the_clock_and_no_mail_is_out_of_sight(tmp_path: Path) -> None:
    with deployment_with_a_clock(tmp_path) as (deployment, clock):
        alias = pb.SetAliasRequest(agent="bob", session="s1", ttl=duration(3600.0 * 3))
        deployment.call("SetAlias", alias)
        clock.move("-1h")
        assert deployment.send("s1", "to bob").message.recipient == "bob"
        clock.move("+1d")
        assert deployment.send("s1", "to the session").message.recipient == "s1"
        assert [one.content for one in deployment.check("bob").messages] == ["to bob"]
        assert [one.content for one in deployment.check("s1").messages] == ["to the session"]
        deployment.call("SetAlias", alias)
        assert {one.content for one in deployment.check("bob").messages} == {"to bob", "to the session"}


def test_a_time_to_live_ends_right_although_the_hosts_clocks_differ(tmp_path: Path) -> None:
    clock = MovedClock(tmp_path / "clock")
    with short_directory() as directory:
        bed = Bed(directory, ["a", "b"])
        bed.hosts["b"].daemon.environment = clock.environment()
        try:
            bed.start()
            clock.move("+1h")  # a message of a minute would be over by b's clock before it arrives
            state_dir = bed.hosts["b"].daemon.state_dir
            wait_until(lambda: HostDirectory(state_dir).content().behind_ms < -3_500_000, "b knows of it", 90.0)
            assert [found.subject for found in check(state_dir) if found.problem] == ["clock"]
            lasting = bed.hosts["a"].client.send("bob:b", "lasts", ttl_sec=60.0).message.id
            wait_until(lambda: bed.hosts["b"].contents("bob") == ["lasts"], "it has arrived")
            ended = bed.hosts["a"].client.send("bob:b", "ends", ttl_sec=3.0).message.id
            client = bed.hosts["a"].client
            wait_until(lambda: client.get(ended).delivery.state == pb.DELIVERY_STATE_EXPIRED, "the short one has ended")
            assert client.get(lasting).delivery.state != pb.DELIVERY_STATE_EXPIRED
        finally:
            bed.close()
