"""A quiet stream stays open while its client pings, and ends when its client is gone without a word."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any, cast

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.gateway.server import KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS
from support.harness.client import SERVICE
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import BOUND_SEC, wait_until

PINGS_MS = 10_000  # what docs/clients.md allows
MINUTE_SEC = 65.0

SUBSCRIBER = """
import sys, mailroom
with mailroom.Mailroom(address=sys.argv[1]) as client, client.subscribe("frozen", caught_up=True) as events:
    for event in events:
        print("open", flush=True)
"""


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment("--listen", "127.0.0.1:0", "--auth", "off") as deployment:
        yield deployment


def tcp_address(deployment: Deployment) -> str:
    return next(address for address in deployment.addresses if not address.startswith("unix:"))


def test_a_client_may_ping_a_quiet_stream_every_ten_seconds(deployment: Deployment) -> None:
    options = [
        ("grpc.keepalive_time_ms", PINGS_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with grpc.insecure_channel(tcp_address(deployment), options) as channel:
        subscribe = cast("Any", channel.unary_stream(SERVICE + "Subscribe"))
        events = subscribe(pb.SubscribeRequest(agent="quiet").SerializeToString(), timeout=MINUTE_SEC)
        assert pb.SubscribeResponse.FromString(next(events)).HasField("caught_up")
        with pytest.raises(grpc.RpcError) as ended:
            next(events)
    assert cast("Any", ended.value).code() is grpc.StatusCode.DEADLINE_EXCEEDED, "and not UNAVAILABLE, too_many_pings"


def test_a_subscriber_that_is_gone_without_a_word_is_not_counted_for_good(deployment: Deployment) -> None:
    program = [sys.executable, "-c", SUBSCRIBER, tcp_address(deployment)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as frozen:
        try:
            assert frozen.stdout is not None
            assert frozen.stdout.readline() == b"open\n"
            assert deployment.stats("frozen").subscribers == 1
            os.kill(frozen.pid, signal.SIGSTOP)  # its kernel still acknowledges packets: only a ping shows it
            started = time.monotonic()
            bound_sec = (KEEPALIVE_MS + KEEPALIVE_TIMEOUT_MS) / 1000 + BOUND_SEC
            wait_until(lambda: deployment.stats("frozen").subscribers == 0, "it is gone", bound_sec)
            assert time.monotonic() - started > KEEPALIVE_TIMEOUT_MS / 1000, "and not at once"
        finally:
            frozen.kill()
