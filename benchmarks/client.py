"""client — the few calls that the benchmarks make themselves, over a blocking channel.

Not for load: that comes from load.py's processes. Every call has a deadline.
"""

import time

import grpc
from mailroom.v1 import mailroom_pb2 as pb

__all__ = ["HEALTH_CHECK", "SEND_MESSAGE", "SERVING", "count_messages", "wait_until_serving", "worker_names"]

SEND_MESSAGE = "/mailroom.v1.MailboxService/SendMessage"
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
"""A HealthCheckResponse as bytes: field 1, status, is SERVING (1). Saves the echo server the health package."""

CALL_TIMEOUT_SEC = 5.0
POLL_SEC = 0.005


def wait_until_serving(address: str, timeout_sec: float = 30.0) -> None:
    """Returns once the health service at an address answers SERVING.

    Raises:
        TimeoutError: it didn't within timeout_sec.
    """
    deadline = time.monotonic() + timeout_sec
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(HEALTH_CHECK, request_serializer=bytes, response_deserializer=bytes)
        while time.monotonic() < deadline:
            try:
                if check(b"", timeout=CALL_TIMEOUT_SEC, wait_for_ready=True) == SERVING:
                    return
            except grpc.RpcError:
                pass  # not yet: the deadline above is the judge
            time.sleep(POLL_SEC)
    raise TimeoutError(f"{address} was not SERVING after {timeout_sec:.0f} s")


def count_messages(address: str, agent: str) -> int:
    """Returns how many messages the daemon at an address counts in an agent's mailbox."""
    with grpc.insecure_channel(address) as channel:
        get_stats = channel.unary_unary(
            "/mailroom.v1.MailboxService/GetMailboxStats",
            request_serializer=pb.GetMailboxStatsRequest.SerializeToString,
            response_deserializer=pb.GetMailboxStatsResponse.FromString,
        )
        response = get_stats(pb.GetMailboxStatsRequest(agent=agent), timeout=CALL_TIMEOUT_SEC)
    return sum(stats.total for stats in response.mailboxes if stats.agent_id == agent)


def worker_names(address: str) -> dict[int, str]:
    """Returns the names of the daemon's workers by process id; none where GetStatus is unknown (the echo server)."""
    with grpc.insecure_channel(address) as channel:
        get_status = channel.unary_unary(
            "/mailroom.v1.SupervisorService/GetStatus",
            request_serializer=pb.GetStatusRequest.SerializeToString,
            response_deserializer=pb.GetStatusResponse.FromString,
        )
        try:
            response = get_status(pb.GetStatusRequest(), timeout=CALL_TIMEOUT_SEC)
        except grpc.RpcError:
            return {}
    return {worker.pid: worker.name for worker in response.workers}
