"""A running daemon counts what happens to messages, and serves the counts even while its workers are stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from mailroom import Mailroom
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.token_file import TokenFile
from mailroomd.model.clock import now_ms
from support.harness.daemon import Daemon, short_directory
from support.harness.metrics_page import MetricsPage
from support.harness.waiting import wait_until

DASHBOARD = Path(__file__).parents[2] / "docs/grafana/mailroom.json"
FLAGS = ("--metrics", "127.0.0.1:0", "--log-format", "json")


@pytest.fixture(scope="module")
def daemon() -> Generator[Daemon]:
    with short_directory() as directory:
        daemon = Daemon(directory, FLAGS)
        try:
            daemon.start()
            yield daemon
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()


@pytest.fixture
def page(daemon: Daemon) -> MetricsPage:
    return MetricsPage(daemon)


def send(daemon: Daemon, recipient: str, key: str = "") -> str:
    """Sends a message, and returns its id once the mailbox has counted it, which is after the answer."""
    request = pb.SendMessageRequest(recipient=recipient, sender="ana", content="hello", idempotency_key=key)
    with daemon.calls() as calls:
        message_id = calls.send(request, timeout=10).message.id
        calls.get_message(pb.GetMessageRequest(id=message_id), timeout=10)  # waits for the mailbox
        return message_id


def dashboard_queries() -> list[str]:
    return [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]


def test_a_message_is_counted_at_every_stage_and_in_every_state(daemon: Daemon, page: MetricsPage) -> None:
    stages = ("send", "intake", "store", "commit", "fsync", "file", "answer")
    before = {stage: page.value(f"{stage}_seconds_count") for stage in stages}
    states = {state: page.value("states_total", state=state) for state in ("stored", "filed", "offered", "read")}
    message_id = send(daemon, "stages")
    with daemon.calls() as calls:
        calls.check_inbox(pb.CheckInboxRequest(agent="stages"), timeout=10)
        calls.acknowledge(pb.AcknowledgeMessagesRequest(agent="stages", message_ids=[message_id]), timeout=10)
    for stage in stages:
        assert page.value(f"{stage}_seconds_count") > before[stage], stage
    for state, count in states.items():
        assert page.value("states_total", state=state) == count + 1, state
    assert page.value("commit_commands_count") == page.value("commit_seconds_count")


def test_repeated_and_refused_sends_are_counted(daemon: Daemon, page: MetricsPage) -> None:
    sends, repeats = page.value("sends_total"), page.value("repeats_total")
    refused = page.value("refusals_total", reason="RECIPIENT_INVALID")
    assert send(daemon, "bob", key="once") == send(daemon, "bob", key="once")
    with pytest.raises(grpc.RpcError):
        send(daemon, "../bob")
    assert (page.value("sends_total"), page.value("repeats_total")) == (sends + 1, repeats + 1)
    assert page.value("refusals_total", reason="RECIPIENT_INVALID") == refused + 1


def test_streams_are_counted_and_their_delay_is_measured(daemon: Daemon, page: MetricsPage) -> None:
    with daemon.calls() as calls:
        stream = calls.subscribe(pb.SubscribeRequest(agent="live"), timeout=30)
        events = iter(stream)
        assert next(events).HasField("caught_up")
        wait_until(lambda: page.value("subscribers") == 1, "the stream is counted")
        delays = page.value("stream_seconds_count")
        send(daemon, "live")
        assert next(events).message.content == "hello"
        send(daemon, "live")  # the first one has certainly been written when the second is requested
        next(events)
        assert page.value("stream_seconds_count") > delays
        stream.cancel()
    wait_until(lambda: page.value("subscribers") == 0, "the stream is gone")


def test_the_metrics_of_a_stopped_worker_stay_readable(daemon: Daemon, page: MetricsPage) -> None:
    send(daemon, "still")
    sends = page.value("sends_total")
    pids = daemon.signal_workers(("mailbox", "gateway"), signal.SIGSTOP)
    try:
        assert page.value("sends_total") == sends > 0
    finally:
        for pid in pids.values():
            os.kill(pid, signal.SIGCONT)
    daemon.workers()


def test_a_restarted_worker_continues_its_counts(daemon: Daemon, page: MetricsPage) -> None:
    send(daemon, "again")
    sends, restarts = page.value("sends_total"), page.value("worker_restarts_total", process="mailbox")
    daemon.wait_replaced(daemon.signal_workers(("mailbox",), signal.SIGKILL))
    send(daemon, "again")
    assert page.value("sends_total") == sends + 1
    assert page.value("worker_restarts_total", process="mailbox") > restarts
    assert page.value("worker_up", process="mailbox") == 1


def test_the_port_survives_a_restart_of_the_metrics_worker(daemon: Daemon, page: MetricsPage) -> None:
    daemon.wait_replaced(daemon.signal_workers(("metrics",), signal.SIGKILL))
    assert page.value("worker_up", process="metrics") == 1


def test_every_dashboard_query_uses_existing_metrics_and_labels(page: MetricsPage) -> None:
    samples = page.read()
    labels: dict[str, set[str]] = {}
    for sample in samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    queries = dashboard_queries()
    assert len(queries) > 20
    shown: set[str] = set()
    for query in queries:
        names = set(re.findall(r"mailroom_[a-z_]+", query))
        assert names <= labels.keys(), query
        known = set[str]().union(*(labels[name] for name in names))
        grouped = {word for words in re.findall(r"by \(([a-z_, ]+)\)", query) for word in words.split(", ")}
        assert grouped | set(re.findall(r"[{,]([a-z_]+)=", query)) <= known, query
        shown |= names
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in labels}
    unshown = families - {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert unshown <= {"mailroom_start_time_seconds", "mailroom_store_seconds"}


def test_every_label_value_in_the_dashboard_exists(page: MetricsPage) -> None:
    values = {(sample.name, name, value) for sample in page.read() for name, value in sample.labels.items()}
    text = " ".join(
        target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]
    )
    named = re.findall(r'(mailroom_[a-z_]+)\{([a-z_]+)="([a-z_]+)"\}', text)
    assert named
    assert set(named) <= values


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /metrics?name=x HTTP/1.1\r\n\r\n", b"200"),
        (b"HEAD / HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
    ],
)
def test_nothing_but_the_metrics_is_served(page: MetricsPage, request_text: bytes, status: bytes) -> None:
    response = raw_request(
        page, request_text.replace(b"\r\n", f"\r\nauthorization: {page.authorization}\r\n".encode(), 1)
    )
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert bool(body) == (not request_text.startswith(b"HEAD"))


def raw_request(page: MetricsPage, text: bytes) -> bytes:
    port = int(page.url.rsplit(":", 1)[1].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(text)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_idle_connections_do_not_shut_the_scraper_out(page: MetricsPage) -> None:
    port = int(page.url.rsplit(":", 1)[1].split("/")[0])
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            assert page.read()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", b"401"),
        ("Authorization: Basic YTpi", b"401"),
        ("Authorization: Bearer mr_00000000_" + "x" * 43, b"401"),
        ("Authorization: Bearer {agent}", b"403"),
        ("AUTHORIZATION:Bearer {admin}", b"200"),
    ],
)
def test_the_metrics_need_an_administrators_token(
    daemon: Daemon, page: MetricsPage, authorization: str, status: bytes
) -> None:
    agent, _ = TokenFile(daemon.state_dir).create("bob", now_ms())
    header = authorization.format(agent=agent, admin=page.authorization.removeprefix("Bearer "))
    response = raw_request(page, f"GET /metrics HTTP/1.1\r\n{header}{header and chr(13) + chr(10)}\r\n".encode())
    assert response.split()[1] == status
    assert (b"mailroom_sends_total" in response) == (status == b"200")
    assert agent.encode() not in response


def test_a_port_in_use_ends_the_start_with_73(page: MetricsPage) -> None:
    taken = page.url.removeprefix("http://").removesuffix("/metrics")
    with short_directory() as directory:
        daemon = Daemon(directory, ("--metrics", taken))
        try:
            with pytest.raises(AssertionError, match=f"(?s)ended with 73.*cannot serve metrics on {taken}"):
                daemon.start()
            daemon.assert_no_process_left()
        finally:
            daemon.kill_everything()


def test_there_is_no_metrics_worker_without_the_flag() -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        try:
            daemon.start()
            assert set(daemon.workers()) == {"command-queue", "mailbox", "gateway"}
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()


def test_get_metrics_returns_the_served_metrics(daemon: Daemon, page: MetricsPage) -> None:
    with Mailroom(daemon.address) as client:
        names = {sample.name for sample in client.metrics()}
    assert names == {sample.name for sample in page.read()}


def test_top_prints_one_snapshot_in_a_pipe_and_as_json(daemon: Daemon) -> None:
    send(daemon, "top")
    command = [str(Path(sys.executable).with_name("mailroom")), "--address", daemon.address, "top", "--every", "0.1"]
    text, record = (
        subprocess.run([*command, *flags], capture_output=True, text=True, timeout=60, check=True).stdout
        for flags in ((), ("--json",))
    )
    assert "command-queue" in text
    assert "serving" in text.splitlines()[0]
    snapshot = json.loads(record)
    assert {worker["name"] for worker in snapshot["workers"]} == set(daemon.workers())
    assert "top" in {mailbox["agent_id"] for mailbox in snapshot["mailboxes"]}
    assert snapshot["gauges"]["store_writable"] == 1
