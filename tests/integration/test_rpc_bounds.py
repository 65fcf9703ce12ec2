"""A daemon at its bounds: descriptors, memory, large batches, a stop with calls in flight, a changed root."""

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import grpc
import psutil
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.command_queue.process import BATCH_BYTES
from support.harness.client import connect, duration, refusal_of, send_request
from support.harness.deployment import new_deployment, running_deployment
from support.harness.guarded import guarded_deployment
from support.harness.waiting import pause, wait_until

LARGE = "x" * 1_000_000


def test_a_gateway_out_of_descriptors_recovers_when_some_are_free() -> None:
    with running_deployment(descriptors=64) as deployment:
        agent = deployment.new_agent()
        clients = [connect(deployment.target) for _ in range(80)]
        opened = [client.__enter__() for client in clients]
        with ThreadPoolExecutor(len(opened)) as threads:
            wait = pb.CheckInboxRequest(agent=agent, wait=duration(1.0))
            asked = [threads.submit(client.call, "CheckInbox", wait, timeout=2.0) for client in opened]
            sent = threads.submit(lambda: refusal_of(lambda: deployment.send(agent, "y" * 200_000, timeout=1.0)))
            sent.exception()
            for future in asked:
                future.exception()
        for client in clients:
            client.__exit__(None, None, None)
        with connect(deployment.target) as client:  # a refused channel waits longer and longer before it reconnects
            assert client.send(agent, "z" * 200_000).delivery.state == pb.DELIVERY_STATE_FILED


def test_idle_tcp_connections_leave_the_unix_socket_working() -> None:
    with (
        new_deployment("--listen", "127.0.0.1:0", "--auth", "off", descriptors=256) as deployment,
        ExitStack() as opened,
    ):
        deployment.start()
        host, _, port = next(address for address in deployment.addresses if not address.startswith("unix:")).rpartition(
            ":"
        )
        for _ in range(300):  # more than the process has descriptors
            with suppress(OSError):
                opened.enter_context(socket.create_connection((host, int(port)), timeout=1))
        for _ in range(5):
            with connect(deployment.target) as client:
                assert client.send("abc", "x").delivery.state == pb.DELIVERY_STATE_FILED
        wait_until(lambda: "many connections" in deployment.log(), "the log says why others wait")
        assert deployment.worker("gateway").restarts == 0


def test_a_flood_of_large_messages_is_committed_in_small_transactions() -> None:
    with running_deployment("--stuck-after", "60") as deployment:
        agents = [deployment.new_agent() for _ in range(4)]
        with ThreadPoolExecutor(64) as threads:
            with deployment.stopped(deployment.pid_of("command-queue")):
                flood = [
                    threads.submit(deployment.send, agents[n % 4], LARGE, idempotency_key=str(n), timeout=60.0)
                    for n in range(150)
                ]
                wait_until(
                    lambda: deployment.metric("mailroom_orders_pending") >= 20, "messages wait for the command-queue"
                )
            assert all(future.result().message.id for future in flood)
        sizes = deployment.query("SELECT sum(length(content)) FROM messages GROUP BY filed_ms")
        assert max(size for (size,) in sizes) <= BATCH_BYTES + len(LARGE)
        assert sum(len(deployment.filed(agent)) for agent in agents) == 150


def test_a_client_may_send_full_batches_on_two_streams() -> None:
    batches = [pb.SendMessagesRequest(messages=[send_request("sink", "x", sender="bob")] * 1000)] * 2
    with (
        guarded_deployment("--client-rate", "100000", "--stuck-after", "60") as guarded,
        connect(guarded.tcp, guarded.texts["bob"]) as bob,
    ):
        deployment = guarded.deployment
        with deployment.stopped(deployment.pid_of("command-queue")):
            streams = [bob.call("SendMessages", iter(batches)) for _ in range(2)]
            wait_until(lambda: deployment.metric("mailroom_calls_waiting") == 2000, "a batch of each waits")
            pause(0.5)
            assert deployment.metric("mailroom_calls_waiting") == 2000, "as many as may wait of one client"
        results = [result for answers in streams for answer in answers for result in answer.results]
        assert len(results) == 4000
        assert [result.error.reason for result in results if result.HasField("error")] == []


def test_sends_pending_at_a_stop_are_refused_with_stopping() -> None:
    with running_deployment("--stuck-after", "60") as deployment:
        agent = deployment.new_agent()
        deployment.send(agent)
        stopped = deployment.pid_of("command-queue")
        with ThreadPoolExecutor(5) as threads, deployment.stopped(stopped):
            waiting = [threads.submit(refusal_of, lambda: deployment.send(agent, timeout=20.0)) for _ in range(5)]
            wait_until(lambda: not any(future.done() for future in waiting), "the sends wait")
            deployment.stats(agent)
            began = time.monotonic()
            assert deployment.stop(signal.SIGTERM) == 0
            assert time.monotonic() - began < 10, "what systemd gives it: TimeoutStopSec"
            assert {(future.result().code, future.result().reason) for future in waiting} == {
                (grpc.StatusCode.UNAVAILABLE, "STOPPING")
            }


def test_a_mailbox_that_waits_for_the_command_queue_does_not_spin() -> None:
    with running_deployment("--stuck-after", "60") as deployment:
        agent = deployment.new_agent()
        with deployment.stopped(deployment.pid_of("command-queue")), ThreadPoolExecutor(1) as threads:
            before = deployment.worker("mailbox")
            psutil.Process(before.pid).kill()
            wait_until(lambda: deployment.worker("mailbox").pid != before.pid, "it is restarted")
            sending = threads.submit(deployment.send, agent, timeout=20.0)
            mailbox = psutil.Process(deployment.pid_of("mailbox"))
            wait_until(lambda: sum(mailbox.cpu_times()[:2]) > 0.03, "it has started")
            turns = mailbox.num_ctx_switches()
            began = time.monotonic()
            used = sum(mailbox.cpu_times()[:2])
            wait_until(lambda: time.monotonic() - began > 1.0, "a second passes")
            assert sum(mailbox.cpu_times()[:2]) - used < 0.5
            assert mailbox.num_ctx_switches() != turns
            psutil.Process(deployment.pid_of("command-queue")).resume()
            assert sending.result().message.id


def test_changing_the_root_and_back_marks_nothing_read() -> None:
    with new_deployment() as deployment:
        deployment.start()
        first = deployment.send("abc", "in the first root").message.id
        deployment.stop()
        usual, deployment.root = deployment.root, deployment.directory / "other"
        deployment.start()
        second = deployment.send("abc", "in the other root").message.id
        assert deployment.filed("abc") == [first, second]
        deployment.stop()
        deployment.root = usual
        deployment.start()
        assert [message.id for message in deployment.check("abc").messages] == [first, second]
        assert deployment.filed("abc") == [first, second]


def test_a_socket_path_may_contain_uri_special_characters() -> None:
    with new_deployment() as deployment:
        path = deployment.directory / "a b%41?#.sock"
        deployment.target = f"unix:{path}"
        deployment.start()
        assert deployment.addresses
        assert path.is_socket()


@pytest.mark.parametrize(("field", "reason"), [("query", "QUERY_TOO_LONG"), ("thread_id", "THREAD_ID_TOO_LONG")])
def test_a_page_size_out_of_bounds_is_refused_or_clamped(field: str, reason: str) -> None:
    with running_deployment() as deployment:
        refusal = refusal_of(lambda: deployment.page("abc", **{field: "x" * 60_000}))
        assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, reason, field)
