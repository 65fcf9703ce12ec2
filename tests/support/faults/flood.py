"""Flood — senders that never pause, in a process of their own: each always has the same number of sends under way.

A program: it ends when its standard input does. `flood` runs it beside a test. Each sender sends to one mailbox; what
is refused is sent again. At its end it says how many sends were acknowledged.
"""

__all__ = ["Flood", "FloodPlan", "flood"]

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

import grpc
import grpc.aio
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.contract import async_stubs
from support.harness.waiting import BOUND_SEC

SEND_SEC = 60.0


@dataclass(frozen=True)
class FloodPlan:
    """What to do.

    Attributes:
        mailboxes: sender number n sends to mailbox number n modulo these.
        at_once: sends that each sender has under way.
        pause_sec: of each sender between a send and the next.
    """

    address: str
    senders: int
    mailboxes: int
    at_once: int = 1
    size: int = 200
    pause_sec: float = 0.0


@dataclass
class Flood:
    """A flood, and how much it sent, once it has ended."""

    acknowledged: int = 0


@contextmanager
def flood(plan: FloodPlan) -> Generator[Flood]:
    """Runs a flood while the context lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.faults.flood", json.dumps(asdict(plan))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GRPC_ENABLE_FORK_SUPPORT": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    running = Flood()
    try:
        yield running
        said, _ = process.communicate(timeout=2 * BOUND_SEC)
        running.acknowledged = int(said)
    finally:
        process.kill()
        process.wait(BOUND_SEC)


async def _main(plan: FloodPlan) -> int:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    acknowledged = 0
    channel, stubs = async_stubs(plan.address)

    async def send_on(number: int) -> None:
        nonlocal acknowledged
        request = pb.SendMessageRequest(
            recipient=f"m{number % plan.mailboxes}", sender=f"s{number}", content="x" * plan.size
        )
        while not ended.is_set():
            with suppress(grpc.aio.AioRpcError):
                await stubs.send(request, timeout=SEND_SEC)
                acknowledged += 1
            await asyncio.sleep(plan.pause_sec)

    async with channel:
        await asyncio.gather(*(send_on(number) for number in range(plan.senders) for _ in range(plan.at_once)))
    return acknowledged


if __name__ == "__main__":
    print(asyncio.run(_main(FloodPlan(**json.loads(sys.argv[1])))))
