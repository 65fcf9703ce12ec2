"""control — the few calls that the benchmarks make themselves, over a blocking channel.

Not here: load, which comes from separate processes. Every call has a deadline.
"""

__all__ = [
    "CHECK_INBOX",
    "HEALTH_CHECK",
    "SEND_MESSAGE",
    "SEND_MESSAGES",
    "SERVING",
    "SUBSCRIBE",
    "count_messages",
    "wait_until",
    "wait_until_serving",
    "worker_names",
]

import time
from collections.abc import Callable

import grpc
from mailroom.v1 import mailroom_pb2 as pb

MAILBOX_SERVICE = "/mailroom.v1.MailboxService"
SEND_MESSAGE = f"{MAILBOX_SERVICE}/SendMessage"
SEND_MESSAGES = f"{MAILBOX_SERVICE}/SendMessages"
SUBSCRIBE = f"{MAILBOX_SERVICE}/Subscribe"
CHECK_INBOX = f"{MAILBOX_SERVICE}/CheckInbox"
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
"""A serialized HealthCheckResponse: field 1, status, is SERVING (1). The echo server needs no health package."""

CALL_TIMEOUT_SEC = 5.0
POLL_SEC = 0.005


def wait_until(condition: Callable[[], bool], what: str, timeout_sec: float, step_sec: float = POLL_SEC) -> None:
    """Waits until a condition holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + timeout_sec
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {timeout_sec:.0f} s")
        time.sleep(step_sec)


def wait_until_serving(address: str, timeout_sec: float = 30.0) -> None:
    """Waits until the health service at an address reports SERVING.

    Raises:
        TimeoutError: it did not within timeout_sec.
    """
    deadline = time.monotonic() + timeout_sec
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(HEALTH_CHECK, request_serializer=bytes, response_deserializer=bytes)
        while time.monotonic() < deadline:
            try:
                if check(b"", timeout=CALL_TIMEOUT_SEC, wait_for_ready=True) == SERVING:
                    return
            except grpc.RpcError:
                pass  # not yet; the deadline above applies
            time.sleep(POLL_SEC)
    raise TimeoutError(f"{address} was not SERVING after {timeout_sec:.0f} s")


def count_messages(address: str, agent: str) -> int:
    """Returns the number of messages in an agent's mailbox, according to the daemon at an address."""
    with grpc.insecure_channel(address) as channel:
        get_stats = channel.unary_unary(
            f"{MAILBOX_SERVICE}/GetMailboxStats",
            request_serializer=pb.GetMailboxStatsRequest.SerializeToString,
            response_deserializer=pb.GetMailboxStatsResponse.FromString,
        )
        response = get_stats(pb.GetMailboxStatsRequest(agent=agent), timeout=CALL_TIMEOUT_SEC)
    return sum(stats.total for stats in response.mailboxes if stats.agent_id == agent)


def worker_names(address: str) -> dict[int, str]:
    """Returns the names of the daemon's workers by process id."""
    with grpc.insecure_channel(address) as channel:
        get_status = channel.unary_unary(
            "/mailroom.v1.SupervisorService/GetStatus",
            request_serializer=pb.GetStatusRequest.SerializeToString,
            response_deserializer=pb.GetStatusResponse.FromString,
        )
        response = get_status(pb.GetStatusRequest(), timeout=CALL_TIMEOUT_SEC)
    return {worker.pid: worker.name for worker in response.workers}
