"""What clients see while workers of a real daemon are stopped, die or run out of disk space, and afterwards."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from mailroom import AsyncMailroom
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import Client, connect, refusal_of
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import BOUND_SEC, pause, wait_until

SERVICES = ("mailroom.v1.MailboxService", "mailroom.v1.SupervisorService")
WORKERS = ("command-queue", "mailbox", "gateway")
MANY_RESTARTS = ("--max-restarts", "1000/1s")


@pytest.fixture(scope="module")
def patient_deployment() -> Generator[Deployment]:
    """A daemon that does not consider a stopped worker stuck."""
    with running_deployment(
        "--stuck-after", "60", *MANY_RESTARTS, "--listen", "127.0.0.1:0", "--auth", "off"
    ) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def quick_deployment() -> Generator[Deployment]:
    with running_deployment("--stuck-after", "1", *MANY_RESTARTS) as deployment:
        yield deployment


def supervisor_pid(deployment: Deployment) -> int:
    assert deployment.process is not None
    return deployment.process.pid


def send_when_possible(client: Client, agent: str, content: str) -> pb.SendMessageResponse:
    """Sends as the SDK would: repeatedly with the same key until there is an answer."""
    found: list[pb.SendMessageResponse] = []

    def sent() -> bool:
        with suppress(grpc.RpcError):
            found.append(client.send(agent, content, idempotency_key=f"{agent} {content}"))
        return bool(found)

    wait_until(sent, "the send works")
    return found[0]


# -- a worker stands still --------------------------------------------------------------------------------------------


def test_reading_calls_answer_while_the_mailbox_is_stopped(patient_deployment: Deployment) -> None:
    deployment, agent = patient_deployment, patient_deployment.new_agent()
    ids = deployment.fill(agent, 5)
    deployment.acknowledge(agent, ids[:1])
    with deployment.stopped(deployment.pid_of("mailbox")):
        assert (deployment.stats(agent).total, deployment.stats(agent).unread) == (5, 4)
        assert deployment.all_stats()[agent].unread == 4
        assert [message.id for message in deployment.check(agent).messages] == ids[1:]
        assert deployment.check(deployment.new_agent(), wait_sec=0.1).messages == []
        assert [message.id for message in deployment.listed(agent)] == ids[::-1]
        assert [message.id for message in deployment.listed(agent, unread_only=True)] == ids[:0:-1]
        assert deployment.get(ids[0]).message.read
        for options in ({"after_id": ids[0]}, {"include_unread": True}):
            stream = deployment.subscribe(agent, **options)
            assert [message.id for message in stream.until_caught_up()[0]] == ids[1:]
            stream.cancel()
        dashboard = deployment.subscribe(all_agents=True, after_id=ids[2])
        assert [message.id for message in dashboard.until_caught_up()[0]] == ids[3:]
        dashboard.cancel()
        assert [worker.name for worker in deployment.status().workers] == list(WORKERS)
        assert deployment.worker("mailbox").restarts == 0


@pytest.mark.parametrize("worker", ["mailbox", "command-queue"])
def test_sends_wait_for_a_stopped_worker_and_succeed_when_it_continues(
    patient_deployment: Deployment, worker: str
) -> None:
    deployment, agent = patient_deployment, patient_deployment.new_agent()
    (first,) = deployment.fill(agent, 1)
    stream = deployment.live(agent)
    with ThreadPoolExecutor(5) as threads, deployment.stopped(deployment.pid_of(worker)):
        sending = [threads.submit(deployment.send, agent, f"waits {index}") for index in range(3)]
        acknowledging = threads.submit(deployment.acknowledge, agent, [first])
        checking = threads.submit(deployment.check, agent, wait_sec=20, unoffered_only=True)
        assert deployment.stats(agent).unread == 1
        deployment.check(agent, wait_sec=0.3)
        assert not any(future.done() for future in sending)
        assert not acknowledging.done()
    ids = sorted(future.result().message.id for future in sending)
    assert list(acknowledging.result().acknowledged_ids) == [first]
    assert checking.result().messages
    assert [message.id for message in stream.messages(3)] == ids
    assert deployment.filed(agent) == ids
    assert deployment.stats(agent).unread == 3
    stream.cancel()


def test_a_new_connection_waits_for_a_gateway_that_is_held_up(patient_deployment: Deployment) -> None:
    agent = patient_deployment.new_agent()
    with ThreadPoolExecutor(1) as threads, patient_deployment.daemon.calls() as calls:
        with patient_deployment.stopped(patient_deployment.pid_of("gateway")):
            sending = threads.submit(
                calls.send, pb.SendMessageRequest(recipient=agent, sender="amy", content="x"), timeout=BOUND_SEC
            )
            pause(0.5)
            assert not sending.done()
        message = sending.result().message
    assert patient_deployment.filed(agent) == [message.id]


@pytest.mark.parametrize("worker", ["mailbox", "command-queue"])
def test_a_pending_send_gets_a_reason_before_its_deadline_and_can_be_retried(
    patient_deployment: Deployment, worker: str
) -> None:
    deployment, agent = patient_deployment, patient_deployment.new_agent()
    with deployment.stopped(deployment.pid_of(worker)):
        started = time.monotonic()
        refusal = refusal_of(lambda: deployment.send(agent, "x", idempotency_key=agent, timeout=2))
        waited_sec = time.monotonic() - started
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "WORKER_RESTARTING")
        assert refusal.domain == "mailroom"
        assert refusal.retry_after_sec > 0
        assert 1.5 < waited_sec < 2
    sent = deployment.send(agent, "x", idempotency_key=agent).message
    assert deployment.filed(agent) == [sent.id]
    assert deployment.stats(agent).total == 1


def test_a_stuck_mailbox_is_replaced_and_nothing_is_lost_or_doubled(quick_deployment: Deployment) -> None:
    deployment, agent = quick_deployment, quick_deployment.new_agent()
    before = deployment.worker("mailbox")
    stream = deployment.live(agent)
    os.kill(before.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(deployment.check, agent, wait_sec=20)
        sent = deployment.send(agent, "waits for the successor").message
        assert stream.messages(1)[0].id == sent.id
        assert [message.id for message in waiting.result().messages] == [sent.id]
    after = deployment.worker("mailbox")
    assert after.restarts == before.restarts + 1
    assert "stuck" in after.last_exit
    assert deployment.filed(agent) == [sent.id]
    assert deployment.stats(agent).subscribers == 1
    stream.cancel()


# -- a worker dies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("worker", WORKERS)
def test_the_status_shows_a_killed_worker(quick_deployment: Deployment, worker: str) -> None:
    deployment = quick_deployment
    before = deployment.worker(worker)
    deployment.kill_worker(worker)
    after = deployment.worker(worker)
    assert (after.name, after.state, after.restarts) == (worker, "running", before.restarts + 1)
    assert after.last_exit == "killed by SIGKILL"
    assert after.pid != before.pid
    assert psutil.pid_exists(after.pid)
    assert after.started_at.ToNanoseconds() > before.started_at.ToNanoseconds()
    status = deployment.status()
    assert [worker.name for worker in status.workers] == list(WORKERS)
    assert status.version
    assert status.started_at.ToMilliseconds() <= before.started_at.ToMilliseconds()
    assert (status.keep_read.ToSeconds(), status.max_unread) == (24 * 3600, 100_000)


@pytest.mark.parametrize("worker", ["mailbox", "command-queue"])
def test_streams_and_waiting_calls_survive_the_death_of_a_worker(quick_deployment: Deployment, worker: str) -> None:
    deployment, agent = quick_deployment, quick_deployment.new_agent()
    streams = [deployment.live(agent), deployment.live(agent, observe=True)]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(deployment.check, agent, wait_sec=25)
        for index in range(2):
            deployment.kill_worker(worker)
            sent = deployment.send(agent, f"after death {index}").message.id
            assert [stream.messages(1)[0].id for stream in streams] == [sent, sent]
        assert waiting.result().messages
    wait_until(lambda: deployment.stats(agent).subscribers == 1, "the subscriber is counted")
    assert (deployment.stats(agent).total, deployment.stats(agent).unread) == (2, 2)
    for stream in streams:
        stream.cancel()
    wait_until(lambda: deployment.stats(agent).subscribers == 0, "nobody is left")


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("start", [{"after_id": "0" * 16}, {"include_unread": True}], ids=["after_id", "unread"])
def test_a_batched_replay_has_no_gap_and_no_repeat_when_workers_are_killed(
    patient_deployment: Deployment, start: dict[str, Any], worker: str
) -> None:
    deployment, agent = patient_deployment, patient_deployment.new_agent()
    stored = deployment.fill(agent, 1000, "{} " + "x" * 6000)  # much more than is on the way at a time
    seen: list[str] = []
    interruptions: list[Exception] = []

    async def read() -> None:
        async with (
            AsyncMailroom(deployment.target) as room,
            room.subscribe(agent, on_interrupted=interruptions.append, **start) as events,
        ):
            async for event in events:
                seen.append(event.event_id)
                if len(seen) in (10, 400, 990):  # in the middle of a batch
                    await asyncio.to_thread(deployment.kill_worker, worker)
                    stored.append(deployment.send(agent, "after the kill").message.id)
                if len(seen) == len(stored):
                    break

    asyncio.run(asyncio.wait_for(read(), 3 * BOUND_SEC))
    assert seen == stored
    assert interruptions or worker != "gateway"


def test_sends_in_flight_at_a_workers_death_are_stored_once(quick_deployment: Deployment) -> None:
    deployment, agent = quick_deployment, quick_deployment.new_agent()
    stream = deployment.live(agent)

    def send(index: int) -> list[str]:
        with connect(deployment.target) as client:
            return [client.send(agent, f"{index} {count}").message.id for count in range(60)]

    with ThreadPoolExecutor(4) as threads:
        sending = [threads.submit(send, index) for index in range(4)]
        for worker in ("mailbox", "command-queue"):
            stream.messages(20)
            deployment.kill_worker(worker)
        sent = sorted(message_id for ids in sending for message_id in ids.result())
    stream.messages(200)
    stream.cancel()
    assert [f"{row[0]:016x}" for row in deployment.query("SELECT id FROM messages WHERE recipient = ?", agent)] == sent
    assert deployment.filed(agent) == sent


def test_clients_reconnect_to_a_restarted_gateway(patient_deployment: Deployment) -> None:
    deployment, agent = patient_deployment, patient_deployment.new_agent()
    tcp = next(address for address in deployment.addresses if not address.startswith("unix:"))
    before = deployment.send(agent, "before").message.id
    with connect(tcp) as other:
        streams = [deployment.subscribe(agent, after_id="0" * 16), other.subscribe(agent, after_id="0" * 16)]
        last_ids = [stream.until_caught_up()[1] for stream in streams]
        deployment.kill_worker("gateway")
        for stream in streams:
            assert refusal_of(stream.next).code is grpc.StatusCode.UNAVAILABLE
        wait_until(lambda: deployment.stats(agent).subscribers == 0, "the dead gateway's subscribers are forgotten")
        missed = send_when_possible(deployment, agent, "missed by the streams").message.id
        over_tcp = send_when_possible(other, agent, "over the same port").message.id
        for client, last_id in zip((deployment, other), last_ids, strict=True):
            stream = client.subscribe(agent, after_id=last_id)
            assert [message.id for message in stream.until_caught_up()[0]] == [missed, over_tcp]
            stream.cancel()
    assert deployment.filed(agent) == [before, missed, over_tcp]


def test_a_restarted_gateway_keeps_its_port(patient_deployment: Deployment) -> None:
    deployment = patient_deployment
    tcp = next(address for address in deployment.addresses if not address.startswith("unix:"))
    for _ in range(2):
        deployment.kill_worker("gateway")
        with connect(tcp) as client:
            assert send_when_possible(client, deployment.new_agent(), "x").message.id
            assert client.status().version == deployment.status().version


@pytest.mark.parametrize("what", ["the socket", "its directory"])
def test_a_removed_socket_is_bound_again(what: str) -> None:
    with running_deployment() as deployment:
        path = Path(deployment.target.removeprefix("unix:"))
        sent = deployment.send("abc", "before").message.id
        path.unlink()
        if what == "its directory":
            shutil.rmtree(path.parent)
        wait_until(path.exists, "the socket is there again")
        with connect(deployment.target) as client:

            def serves() -> bool:
                with suppress(grpc.RpcError):
                    return client.is_serving()
                return False

            wait_until(serves, "the gateway serves")
            assert [message.id for message in client.check("abc").messages] == [sent]
            assert client.worker("gateway").last_exit == f"exited with code {os.EX_TEMPFAIL}"
        assert "socket was removed or replaced" in deployment.log()


# -- several gateways -------------------------------------------------------------------------------------------------


def test_two_gateways_share_a_port_and_their_clients_see_everything() -> None:
    flags = ("--gateways", "2", "--listen", "127.0.0.1:0", "--auth", "off", *MANY_RESTARTS, "--stuck-after", "60")
    with running_deployment(*flags) as deployment, ExitStack() as opened:
        tcp = next(address for address in deployment.addresses if not address.startswith("unix:"))
        port = int(tcp.rpartition(":")[2])
        agent = deployment.new_agent()
        clients = [opened.enter_context(connect(tcp)) for _ in range(20)]
        streams = [client.live(agent) for client in clients]
        gateways = [worker for worker in deployment.status().workers if worker.name.startswith("gateway")]
        assert len(gateways) == 2
        assert all(_clients_of(worker.pid, port) > 0 for worker in gateways)
        wait_until(lambda: deployment.stats(agent).subscribers == 20, "all are counted")
        assert {client.stats(agent).subscribers for client in clients} == {20}
        ids = [client.send(agent, "x", idempotency_key=f"{agent} {n}").message.id for n, client in enumerate(clients)]
        again = [clients[-1 - n].send(agent, "x", idempotency_key=f"{agent} {n}").message.id for n in range(20)]
        assert again == ids
        for stream in streams:
            assert [message.id for message in stream.messages(20)] == sorted(ids)
        assert clients[0].acknowledge(agent, ids[:5]).acknowledged_ids == ids[:5]
        assert {client.stats(agent).unread for client in clients} == {15}

        served = _clients_of(gateways[1].pid, port)
        os.kill(gateways[1].pid, signal.SIGKILL)
        wait_until(
            lambda: deployment.stats(agent).subscribers == 20 - served, "the dead gateway's subscribers are forgotten"
        )
        late = send_when_possible(deployment, agent, "late").message.id
        alive = [stream for stream in streams if stream.call.is_active()]
        assert len(alive) == 20 - served
        assert {stream.messages(1)[0].id for stream in alive} == {late}
        for client in clients:
            assert send_when_possible(client, agent, "to any reader").message.id
        for stream in streams:
            stream.cancel()


def test_what_a_sender_was_told_of_can_be_read_at_once_through_every_gateway() -> None:
    flags = ("--gateways", "2", "--listen", "127.0.0.1:0", "--auth", "off")
    with running_deployment(*flags) as deployment, ExitStack() as opened:
        tcp = next(address for address in deployment.addresses if not address.startswith("unix:"))
        clients = [opened.enter_context(connect(tcp)) for _ in range(12)]
        for number in range(300):
            sender, reader = clients[number % 12], clients[(number * 7 + 5) % 12]
            agent = deployment.new_agent()
            sent = sender.send(agent, "x").message.id
            ways: list[Callable[[], list[str]]] = [
                lambda: [message.id for message in reader.check(agent, observe=True).messages],  # noqa: B023
                lambda: [message.id for message in reader.listed(agent)],  # noqa: B023
                lambda: [reader.get(sent).message.id],  # noqa: B023
                lambda: [sent] * reader.stats(agent).unread,  # noqa: B023
            ]
            assert ways[number % len(ways)]() == [sent]


def _clients_of(pid: int, port: int) -> int:
    connections = psutil.Process(pid).net_connections("tcp")
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and connection.laddr[1] == port for connection in connections
    )


# -- health and reflection --------------------------------------------------------------------------------------------


def test_reflection_lists_the_services(patient_deployment: Deployment) -> None:
    assert patient_deployment.services() == sorted(
        [
            *SERVICES,
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ]
    )


def test_every_service_is_healthy_and_an_unknown_one_is_not_found(patient_deployment: Deployment) -> None:
    for service in ("", *SERVICES):
        assert patient_deployment.is_serving(service)
    assert refusal_of(lambda: patient_deployment.is_serving("nobody")).code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("worker", ["mailbox", "command-queue"])
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_health_is_serving_exactly_while_sends_succeed(
    quick_deployment: Deployment, worker: str, how: signal.Signals
) -> None:
    deployment, agent = quick_deployment, quick_deployment.new_agent()

    def health() -> set[bool]:
        return {deployment.is_serving(service) for service in ("", *SERVICES)}

    wait_until(lambda: health() == {True}, "all is well")
    pid = deployment.pid_of(worker)
    with deployment.stopped(supervisor_pid(deployment)):  # so that it is not restarted meanwhile
        os.kill(pid, how)
        wait_until(lambda: health() == {False}, "health notices", 5)
        refusal = refusal_of(lambda: deployment.send(agent, "x", idempotency_key=agent, timeout=0.4))
        assert refusal.reason == "WORKER_RESTARTING"
        assert health() == {False}
        if how is signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: health() == {True}, "health notices", 5)
            assert deployment.send(agent, "x", idempotency_key=agent).message.id
    wait_until(lambda: health() == {True}, "health notices", 5)
    assert deployment.send(agent, "x", idempotency_key=agent).message.id
    assert deployment.stats(agent).total == 1


def test_health_is_not_serving_at_a_stop_and_its_watchers_end() -> None:
    with running_deployment() as deployment:
        watched = deployment.watch_serving()
        assert next(watched)
        os.kill(supervisor_pid(deployment), signal.SIGTERM)
        assert next(watched) is False
        with suppress(grpc.RpcError):
            assert list(watched) == []
        assert deployment.wait_for_end() == 0


def test_a_full_disk_refuses_sends_until_there_is_room_again() -> None:
    with running_deployment("--stuck-after", "5", small_disk=True) as deployment:
        agent = deployment.new_agent()
        ids = deployment.fill(agent, 3)
        _fill_up(deployment.ballast())
        refusal = refusal_of(lambda: [deployment.send(agent, "x" * 500_000) for _ in range(100)])
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
        assert refusal.domain == "mailroom"
        assert refusal.retry_after_sec > 0
        wait_until(lambda: not deployment.is_serving(), "health says so")
        stored = [message.id for message in deployment.check(agent, limit=1000, observe=True).messages]
        assert deployment.filed(agent)[: len(stored)] == stored
        assert list(deployment.acknowledge(agent, ids[:2]).acknowledged_ids) == ids[:2]
        assert refusal_of(lambda: deployment.send(agent, "small")).reason == "STORAGE_FULL"
        total = deployment.stats(agent).total
        deployment.ballast().unlink()
        wait_until(deployment.is_serving, "there is room again")
        last = deployment.send(agent, "works again").message.id
        assert deployment.stats(agent).total == total + 1
        assert deployment.filed(agent)[-1] == last
        assert [worker.restarts for worker in deployment.status().workers] == [0, 0, 0]
        assert deployment.stop() == 0


def _fill_up(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    deployment = os.statvfs(ballast)
    assert deployment.f_bavail == 0
