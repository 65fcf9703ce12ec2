"""Room — a real mail room for tests of the contract: started, asked through raw stubs, stopped, looked into.

Owns the daemon's process and directories, and all that is untyped in generated code: the tests see protobuf messages.
The SDK takes no part. Not here: load and faults at random moments (tests/faults).
"""

__all__ = [
    "BOUND_SEC",
    "SERVICE",
    "Client",
    "Refusal",
    "Room",
    "Stream",
    "connect",
    "new_room",
    "refusal_of",
    "running_room",
    "wait_until",
]

import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import psutil
from google.protobuf import duration_pb2, struct_pb2
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from mailroom.v1 import mailroom_pb2 as pb
from mailroom.v1 import mailroom_pb2_grpc
from support.faults.write_watch import watch_command
from support.harness.bearer import with_token

BOUND_SEC = 30.0  # for anything that has to happen; a busy machine needs a tenth of it
# A file system of its own for the state directory, which others see below /proc/PID/root only.
_SMALL_DISK = 'mkdir -p "$0" && mount -t tmpfs -o size=24m,mode=700 tmpfs "$0" && exec "$@"'
# Takes root's power to ignore permissions away. Another uid would do so, too, but may not even reach the interpreter.
_ORDINARY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
DAEMON = Path(sys.executable).with_name("mailroomd")
SERVICE = "/mailroom.v1.MailboxService/"

_mailbox_stub = cast("Callable[[grpc.Channel], Any]", mailroom_pb2_grpc.MailboxServiceStub)
_supervisor_stub = cast("Callable[[grpc.Channel], Any]", mailroom_pb2_grpc.SupervisorServiceStub)
_health_stub = cast("Callable[[grpc.Channel], Any]", health_pb2_grpc.HealthStub)
_reflection_stub = cast("Callable[[grpc.Channel], Any]", reflection_pb2_grpc.ServerReflectionStub)
_agents = itertools.count(1)


def wait_until(condition: Callable[[], object], what: str, bound_sec: float = BOUND_SEC) -> None:
    """Looks until the condition holds."""
    deadline = time.monotonic() + bound_sec
    while not condition():
        assert time.monotonic() < deadline, f"waited {bound_sec:g} s in vain until {what}"
        time.sleep(0.005)


def is_gone(process: psutil.Process) -> bool:
    """Returns whether a process has ended, reaped or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass(frozen=True)
class Refusal:
    """An error as a client sees it, with its google.rpc details."""

    code: grpc.StatusCode
    reason: str
    domain: str
    field: str
    retry_after_sec: float
    sentence: str


def refusal_of(call: Callable[[], object]) -> Refusal:
    """Returns how a call is refused; it has to be."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return _refusal(error)
    raise AssertionError(f"was not refused, but answered {answer!s:.300}")


def _refusal(error: grpc.RpcError) -> Refusal:
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    status = status_pb2.Status()
    trailer = cast("dict[str, bytes]", dict(cast("Any", error).trailing_metadata() or ()))
    status.ParseFromString(trailer.get("grpc-status-details-bin", b""))
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(request) or detail.Unpack(retry)
    if status.details:
        assert status.code == error.code().value[0]
        assert status.message == error.details()
    return Refusal(
        error.code(),
        info.reason,
        info.domain,
        ",".join(one.field for one in request.field_violations),
        retry.retry_delay.ToTimedelta().total_seconds(),
        error.details() or "",
    )


class Stream:
    """One Subscribe stream, read event by event."""

    def __init__(self, call: Any, *, skips_receipts: bool = False) -> None:
        self.call = call
        self._skips_receipts = skips_receipts

    def next(self) -> pb.SubscribeResponse:
        """Returns the next event; fails when the stream has ended."""
        while True:
            event = cast("pb.SubscribeResponse", next(self.call))
            if not (self._skips_receipts and event.WhichOneof("event") == "receipt"):
                return event

    def messages(self, number: int) -> list[pb.Message]:
        """Returns the next messages; every other event on the way is a mistake."""
        found: list[pb.Message] = []
        while len(found) < number:
            event = self.next()
            assert event.WhichOneof("event") == "message", event
            assert event.event_id == event.message.id
            found.append(event.message)
        return found

    def until_caught_up(self) -> tuple[list[pb.Message], str]:
        """Returns the messages before CaughtUp, and its last_id."""
        found: list[pb.Message] = []
        while (event := self.next()).WhichOneof("event") == "message":
            found.append(event.message)
        assert event.WhichOneof("event") == "caught_up", event
        assert event.event_id == event.caught_up.last_id
        return found, event.caught_up.last_id

    def rest(self) -> list[pb.SubscribeResponse]:
        """Returns all events up to the end of the stream, which has to be a good one."""
        events = [
            event
            for event in cast("Iterable[pb.SubscribeResponse]", self.call)
            if not (self._skips_receipts and event.WhichOneof("event") == "receipt")
        ]
        assert self.call.code() is grpc.StatusCode.OK
        return events

    def cancel(self) -> None:
        self.call.cancel()


class Client:
    """One channel with the raw stubs on it.

    Args:
        token: what each call shows, "" for nothing.
        tls: what the daemon is known by, None for no TLS.
    """

    def __init__(self, target: str, token: str = "", tls: grpc.ChannelCredentials | None = None) -> None:
        options = (
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", 32 << 20),
        )
        self.channel = (
            grpc.secure_channel(target, tls, options=options) if tls else grpc.insecure_channel(target, options=options)
        )
        if token:
            self.channel = with_token(self.channel, token)
        self._mail = _mailbox_stub(self.channel)
        self._supervisor = _supervisor_stub(self.channel)
        self._health = _health_stub(self.channel)

    def close(self) -> None:
        self.channel.close()

    def call(self, method: str, request: object, timeout: float | None = BOUND_SEC) -> Any:
        """MailboxClient a method of MailboxService."""
        return getattr(self._mail, method)(request, timeout=timeout)

    def raw(self, method: str, request: bytes) -> bytes:
        """MailboxClient a unary method with any bytes."""
        unary = cast("Any", self.channel.unary_unary(SERVICE + method))
        return cast("bytes", unary(request, timeout=BOUND_SEC))

    def send(
        self,
        recipient: str,
        content: str = "",
        *,
        sender: str = "tester",
        metadata: Mapping[str, object] | None = None,
        ttl_sec: float | None = None,
        timeout: float | None = BOUND_SEC,
        **fields: Any,
    ) -> pb.SendMessageResponse:
        """Sends one message."""
        request = send_request(recipient, content, sender=sender, metadata=metadata, ttl_sec=ttl_sec, **fields)
        return cast("pb.SendMessageResponse", self._mail.SendMessage(request, timeout=timeout))

    def start_send(self, recipient: str, content: str = "", *, sender: str = "tester") -> Any:
        """Begins to send one message; returns a future."""
        return self._mail.SendMessage.future(send_request(recipient, content, sender=sender), timeout=BOUND_SEC)

    def send_many(self, requests: Iterable[pb.SendMessageRequest]) -> list[pb.SendResult]:
        """Sends in one bulk stream, a thousand at a time."""
        rest = iter(requests)
        batches = iter(lambda: list(itertools.islice(rest, 1000)), [])
        asked = (pb.SendMessagesRequest(messages=batch) for batch in batches)
        return [result for answer in self._mail.SendMessages(asked, timeout=BOUND_SEC) for result in answer.results]

    def fill(self, agent: str, number: int, content: str = "mail {}") -> list[str]:
        """Sends so many messages, and returns their ids."""
        results = self.send_many(send_request(agent, content.format(index)) for index in range(number))
        return [result.ok.message.id for result in results]

    def broadcast(self, recipients: Iterable[str], message: pb.SendMessageRequest) -> list[pb.SendResult]:
        request = pb.BroadcastMessageRequest(recipients=recipients, message=message)
        return list(self.call("BroadcastMessage", request).results)

    def check(self, agent: str, *, wait_sec: float | None = None, **fields: Any) -> pb.CheckInboxResponse:
        request = pb.CheckInboxRequest(agent=agent, **fields)
        if wait_sec is not None:
            request.wait.CopyFrom(duration(wait_sec))
        return cast("pb.CheckInboxResponse", self.call("CheckInbox", request))

    def acknowledge(self, agent: str, ids: Iterable[str]) -> pb.AcknowledgeMessagesResponse:
        request = pb.AcknowledgeMessagesRequest(agent=agent, message_ids=ids)
        return cast("pb.AcknowledgeMessagesResponse", self.call("AcknowledgeMessages", request))

    def mark_offered(self, agent: str, ids: Iterable[str]) -> None:
        self.call("MarkOffered", pb.MarkOfferedRequest(agent=agent, message_ids=ids))

    def get(self, message_id: str) -> pb.GetMessageResponse:
        return cast("pb.GetMessageResponse", self.call("GetMessage", pb.GetMessageRequest(id=message_id)))

    def state(self, message_id: str) -> "pb.DeliveryState":
        return self.get(message_id).delivery.state

    def page(self, agent: str, **fields: Any) -> pb.ListMessagesResponse:
        request = pb.ListMessagesRequest(agent=agent, **fields)
        return cast("pb.ListMessagesResponse", self.call("ListMessages", request))

    def listed(self, agent: str, **fields: Any) -> list[pb.Message]:
        """Returns the messages of the first page, newest first."""
        return list(self.page(agent, **fields).messages)

    def all_stats(self) -> dict[str, pb.MailboxStats]:
        answer = self.call("GetMailboxStats", pb.GetMailboxStatsRequest())
        return {one.agent_id: one for one in answer.mailboxes}

    def stats(self, agent: str) -> pb.MailboxStats:
        (one,) = self.call("GetMailboxStats", pb.GetMailboxStatsRequest(agent=agent)).mailboxes
        return cast("pb.MailboxStats", one)

    def subscribe(self, agent: str = "", **fields: Any) -> Stream:
        """Opens a stream. It is live only behind its CaughtUp."""
        call = self.call("Subscribe", pb.SubscribeRequest(agent=agent, **fields))
        return Stream(call, skips_receipts=bool(fields.get("all_agents")))

    def live(self, agent: str = "", **fields: Any) -> Stream:
        """Opens a stream from now on, and returns it when it is live."""
        stream = self.subscribe(agent, **fields)
        assert stream.until_caught_up()[0] == []
        return stream

    def status(self) -> pb.GetStatusResponse:
        return cast("pb.GetStatusResponse", self._supervisor.GetStatus(pb.GetStatusRequest(), timeout=BOUND_SEC))

    def worker(self, name: str) -> pb.WorkerStatus:
        return next(one for one in self.status().workers if one.name == name)

    def is_serving(self, service: str = "") -> bool:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = self._health.Check(request, timeout=BOUND_SEC)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def watch_serving(self, service: str = "") -> Generator[bool]:
        """Yields whether a service is serving, each time that changes, to the end of the stream."""
        request = health_pb2.HealthCheckRequest(service=service)
        for answer in self._health.Watch(request, timeout=BOUND_SEC):
            yield answer.status == health_pb2.HealthCheckResponse.SERVING

    def services(self) -> list[str]:
        """Returns the services that reflection lists."""
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = _reflection_stub(self.channel).ServerReflectionInfo(iter([request]), timeout=BOUND_SEC)
        return sorted(one.name for one in answer.list_services_response.service)


def send_request(
    recipient: str,
    content: str = "",
    *,
    sender: str = "tester",
    metadata: Mapping[str, object] | None = None,
    ttl_sec: float | None = None,
    **fields: Any,
) -> pb.SendMessageRequest:
    """Makes a request to send."""
    request = pb.SendMessageRequest(recipient=recipient, sender=sender, content=content, **fields)
    if metadata is not None:
        request.metadata.CopyFrom(struct(metadata))
    if ttl_sec is not None:
        request.ttl.CopyFrom(duration(ttl_sec))
    return request


def struct(value: Mapping[str, object]) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(cast("Any", value))
    return made


def duration(seconds: float) -> duration_pb2.Duration:
    made = duration_pb2.Duration()
    made.FromNanoseconds(round(seconds * 1e9))
    return made


def connect(target: str, token: str = "", tls: grpc.ChannelCredentials | None = None) -> "closing[Client]":
    """Opens a channel of its own, for a `with`."""
    return closing(Client(target, token, tls))


class Room(Client):
    """A daemon with directories of its own, and a client of it.

    Attributes:
        directory: holds everything; short, because a socket's path is.
        root: where inbox/ is.
        state_dir: where the database is.
    """

    def __init__(self, directory: Path, flags: tuple[str, ...], prefix: tuple[str, ...]) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.state_dir = directory / "state"
        self.target = f"unix:{directory}/run/s"
        self.addresses: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._flags = flags
        self._prefix = prefix
        super().__init__(self.target)

    # -- the daemon -----------------------------------------------------------------------------------------------

    def start(self, *flags: str) -> None:
        """Starts the daemon and returns when it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
        command = [DAEMON, "--root", self.root, "--state-dir", self.state_dir, "--listen", self.target]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, *map(str, command), *self._flags, *flags],
                env=environment | {"HOME": str(self.directory)},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " is ready: " in line, self.log()
        self.addresses = line.split(" is ready: ")[1].split()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stops the daemon and returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait_for_end()

    def wait_for_end(self) -> int:
        """Returns the daemon's exit code."""
        assert self.process is not None
        assert self.process.stdout is not None
        code = self.process.wait(BOUND_SEC)
        self.process.stdout.close()
        self.process = None
        return code

    def kill(self) -> None:
        """Ends the daemon as a power cut would, and waits until nobody is left of it."""
        family = self.family()
        self.stop(signal.SIGKILL)
        wait_until(lambda: all(map(is_gone, family)), "nobody is left of the daemon")

    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def pid_of(self, worker: str) -> int:
        """Returns a worker's pid as the supervisor gives it."""
        return self.worker(worker).pid

    @contextmanager
    def stopped(self, *pids: int) -> Generator[None]:
        """Holds processes under SIGSTOP."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda pid=pid: psutil.Process(pid).status() == psutil.STATUS_STOPPED, f"{pid} stands still")
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill_worker(self, worker: str) -> None:
        """Kills a worker and returns when its successor runs."""
        before = self.worker(worker)
        os.kill(before.pid, signal.SIGKILL)

        def is_replaced() -> bool:
            with suppress(grpc.RpcError):
                now = self.worker(worker)
                return now.restarts > before.restarts and now.state == "running"
            return False

        wait_until(is_replaced, f"{worker} is restarted")

    def ballast(self) -> Path:
        """Returns a file on the daemon's small disk, to fill it with."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root{self.state_dir}/ballast")

    def log(self) -> str:
        return (self.directory / "log").read_text()

    # -- what it leaves on the disk -------------------------------------------------------------------------------

    def new_agent(self) -> str:
        """Returns a name that nobody has used."""
        return f"agent-{next(_agents)}"

    def inbox(self, agent: str) -> Path:
        return self.root / "inbox" / agent

    def file_of(self, agent: str, message_id: str) -> Path:
        return self.inbox(agent) / f"{message_id}.json"

    def filed(self, agent: str) -> list[str]:
        """Returns the ids of an agent's inbox files, in the order of `ls`."""
        if not self.inbox(agent).is_dir():
            return []
        return sorted(path.stem for path in self.inbox(agent).iterdir())

    def file(self, agent: str, message_id: str) -> dict[str, Any]:
        """Returns what an inbox file says."""
        return cast("dict[str, Any]", json.loads(self.file_of(agent, message_id).read_bytes()))

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Asks the database."""
        with closing(sqlite3.connect(f"file:{self.state_dir}/mailroom.db?mode=ro", uri=True)) as database:
            return database.execute(sql, values).fetchall()

    def number_stored(self, agent: str) -> int:
        return self.query("SELECT count(*) FROM messages WHERE recipient = ?", agent)[0][0]

    def everything_written(self) -> tuple[object, ...]:
        """Returns all that a refused request must not change."""
        files = sorted(str(path) for path in self.root.rglob("*"))
        rows = self.query(
            "SELECT (SELECT count(*) FROM messages), (SELECT value FROM meta WHERE name = 'last_id'),"
            " (SELECT count(*) FROM idempotency_keys), (SELECT count(*) FROM request_keys)"
        )
        stats = {name: (one.total, one.unread) for name, one in self.all_stats().items()}
        return files, rows, stats


@contextmanager
def new_room(
    *flags: str,
    minds_permissions: bool = False,
    small_disk: bool = False,
    descriptors: int = 0,
    watched: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Generator[Room]:
    """Gives directories and a client for a daemon that is not started yet.

    Args:
        minds_permissions: it meets permission errors also when root runs the tests.
        small_disk: its state directory lies on a file system of 24 MiB, of its own.
        descriptors: that each of its processes may have; 0 for what is usual.
        watched: every change that it makes to the file system is traced, into `trace` in its directory.
        environment: further variables.
    """
    directory = Path(tempfile.mkdtemp(prefix="mailroom-", dir="/tmp"))
    prefix = _ORDINARY if minds_permissions and os.geteuid() == 0 else ()
    if descriptors:
        prefix = ("prlimit", f"--nofile={descriptors}:{descriptors}")
    if small_disk:
        namespaces = ("--mount",) if os.geteuid() == 0 else ("--mount", "--map-root-user")
        prefix = ("unshare", *namespaces, "sh", "-c", _SMALL_DISK, str(directory / "state"))
    if watched:
        prefix = watch_command(directory / "trace")
    if environment:
        prefix = ("env", *(f"{name}={value}" for name, value in environment.items()), *prefix)
    room = Room(directory, flags, prefix)
    try:
        yield room
    finally:
        room.close()
        ended, log = None, ""
        if room.process is not None:
            ended, log = room.process.poll(), room.log()
            if ended is None:
                room.kill()
            else:
                room.wait_for_end()
        shutil.rmtree(directory)
        assert ended is None, f"the daemon ended by itself, with {ended}:\n{log}"


@contextmanager
def running_room(*flags: str, **options: Any) -> Generator[Room]:
    """Gives a daemon that runs; the options are `new_room`'s."""
    with new_room(*flags, **options) as room:
        room.start()
        yield room
