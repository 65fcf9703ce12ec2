"""broker_job — the job of the Mailroom, JetStream and Redis clients, and how they write files.

One publisher and one consumer, each in its own process. The job is done when every message has its JSON file. Mailroom
writes the files itself; for a broker its consumer does: temporary name, rename, acknowledgement.
"""

__all__ = ["AT_ONCE", "BrokerJob", "Contender", "FileWriter", "Mode", "Span", "measure_rate", "publish_each", "serve"]

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from mailroom.inbox_file_encoder import encode_inbox_file
from mailroomd.model.message import Draft

from benchmarks.clients import process
from benchmarks.clients.messages import CONTENT, SENDER

Mode = Literal["one", "many", "most", "bulk"]
AT_ONCE: dict[Mode, int] = {"one": 1, "many": 32, "most": 256}


class BrokerJob(msgspec.Struct, frozen=True):
    """One run: a number of messages to one mailbox, `one`, 32 (`many`) or 256 (`most`) at a time, or in `bulk`.

    Attributes:
        directory: where a broker's consumer writes the files.
    """

    role: Literal["publish", "consume"]
    address: str
    agent: str
    messages: int
    mode: Mode
    directory: str = ""


class Span(msgspec.Struct, frozen=True):
    """Start and end of a role, in seconds of the machine's monotonic clock."""

    started_sec: float
    ended_sec: float


Role = Callable[[BrokerJob], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A system under comparison: the module of its clients, its address, and the directory of its files."""

    module: str
    address: str
    inbox: Path


def measure_rate(contender: Contender, agent: str, messages: int, mode: Mode) -> float:
    """Returns the messages per second, from the first send until the last message has its file.

    Raises:
        RuntimeError: a client failed, or the number of files is not the number of messages.
    """
    consume = BrokerJob("consume", contender.address, agent, messages, mode, str(contender.inbox))
    publish = BrokerJob("publish", contender.address, agent, messages, mode)
    with process.started(contender.module, consume, Span) as consumer:
        published = process.run(contender.module, publish, Span)
        consumed = consumer.result()
    if (files := sum(1 for _ in (contender.inbox / agent).glob("*.json"))) != messages:
        raise RuntimeError(f"{contender.module}, {agent}: {messages} messages, {files} files")
    return messages / (max(published.ended_sec, consumed.ended_sec) - published.started_sec)


async def _run_role(job: BrokerJob, publish: Role, consume: Role) -> Span:
    """Runs the role; the consumer itself reports when it is ready."""
    started = time.monotonic()
    await (publish if job.role == "publish" else consume)(job)
    return Span(started, time.monotonic())


async def publish_each(job: BrokerJob, send: Callable[[], Awaitable[object]]) -> None:
    """Sends every message in its own request, as many at a time as the mode says."""
    remaining = iter(range(job.messages))

    async def worker() -> None:
        for _ in remaining:
            await send()

    await asyncio.gather(*(worker() for _ in range(AT_ONCE[job.mode])))


class FileWriter:
    """Writes the inbox files that the daemon would write.

    Args:
        job: names the directory and the mailbox.
    """

    def __init__(self, job: BrokerJob) -> None:
        self.written = 0
        self._inbox = Path(job.directory) / job.agent
        self._temporary = Path(job.directory) / ".tmp"
        self._draft = Draft(job.agent, SENDER, CONTENT)
        for directory in (self._inbox, self._temporary):
            directory.mkdir(parents=True, exist_ok=True)

    def write(self, content: bytes) -> None:
        """Writes one message's file."""
        self.written += 1
        draft = msgspec.structs.replace(self._draft, content=content.decode())
        temporary = self._temporary / str(self.written)
        temporary.write_bytes(encode_inbox_file(self.written, time.time_ns() // 1_000_000, draft))
        temporary.rename(self._inbox / f"{self.written:016x}.json")


def serve(publish: Role, consume: Role) -> None:
    """The client's side: runs the role that the command line names."""
    process.serve(lambda job: _run_role(job, publish, consume), BrokerJob)
