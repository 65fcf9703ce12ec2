"""Daemon — a real mailroomd in directories of its own, which tests start, injure, watch and stop.

The one harness for daemon processes; `deployment.Deployment` adds a client to it. `processes` finds everything that
belongs to a daemon by a mark in its environment, which every descendant inherits, and by the lock file of its state
directory, so it sees orphans as well.
"""

__all__ = ["IMPATIENT", "MAILROOMD", "Daemon", "is_gone", "running_daemon", "short_directory"]

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.contract import BlockingStubs, blocking_stubs
from support.harness.waiting import BOUND_SEC, wait_until

WORKERS = ("command-queue", "mailbox", "gateway")
STUCK_AFTER_SEC = 1.0
# Flags for tests that kill workers: a stuck one is replaced soon, and restarts are all but unlimited.
IMPATIENT = ("--stuck-after", f"{STUCK_AFTER_SEC:g}s", "--max-restarts", "1000/10")
MAILROOMD = str(Path(sys.executable).with_name("mailroomd"))


@dataclass
class Daemon:
    """One daemon, over all its starts on the same directories.

    Attributes:
        directory: holds everything else, and the log; its path is short, because of the socket in it.
        flags: flags of every start, behind those for its places.
        program: what to run, with the daemon's command line.
        environment: further variables; may change between two starts.
        start_bound_sec: how long a start may take.
        base_flags: flags that most tests leave as they are.
        root, state_dir, address: its places; may change between two starts.
        process: the supervisor's process; None before the first start and after `wait_for_end`.
        addresses: where it listens, as it announced at its last start.
    """

    directory: Path
    flags: Sequence[str] = ()
    program: Sequence[str] = (MAILROOMD,)
    environment: dict[str, str] = field(default_factory=dict[str, str])
    start_bound_sec: float = BOUND_SEC
    base_flags: Sequence[str] = IMPATIENT
    root: Path = field(init=False)
    state_dir: Path = field(init=False)
    address: str = field(init=False)
    process: "subprocess.Popen[bytes] | None" = None
    addresses: list[str] = field(default_factory=list[str])
    _mark: str = field(default_factory=lambda: f"MARK_OF_TEST_DAEMON={secrets.token_hex(8)}", repr=False)
    _starts: int = 0

    def __post_init__(self) -> None:
        self.root = self.directory / "root"
        self.state_dir = self.directory / "state"
        self.address = f"unix:{self.directory}/s/mailroom.sock"

    @property
    def database(self) -> Path:
        """Its database."""
        return self.state_dir / "mailroom.db"

    @property
    def inbox(self) -> Path:
        """Where agents find their files."""
        return self.root / "inbox"

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self.process is not None
        return self.process.pid

    # -- its life -------------------------------------------------------------------------------------------------

    def start(self, *flags: str) -> None:
        """Starts it and waits until it announces that it is ready."""
        process = self.launch(*flags)
        wait_until(
            lambda: self._ready_line() or process.poll() is not None,
            "the daemon announces that it is ready",
            self.start_bound_sec,
        )
        assert process.poll() is None, f"the daemon ended with {process.poll()}:\n{self.log()[-3000:]}"
        self.addresses = self._ready_line().split(" is ready: ")[1].split()

    def launch(self, *flags: str) -> "subprocess.Popen[bytes]":
        """Starts its process and returns at once."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
        name, _, value = self._mark.partition("=")
        places = ("--root", str(self.root), "--state-dir", str(self.state_dir), "--listen", self.address)
        self._starts += 1
        with self._stdout.open("wb") as out, (self.directory / "log").open("ab") as err:
            self.process = subprocess.Popen(
                [*self.program, *places, *self.base_flags, *self.flags, *flags],
                env=environment | {name: value, "HOME": str(self.directory)} | self.environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return self.process

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stops it by a signal to the supervisor; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(BOUND_SEC)

    @property
    def _stdout(self) -> Path:
        return self.directory / f"stdout-{self._starts}"

    def _ready_line(self) -> str:
        lines = self._stdout.read_text().splitlines(keepends=True)
        return next((line for line in lines if " is ready: " in line and line.endswith("\n")), "")

    def kill_supervisor(self) -> None:
        """Kills the supervisor, and with it all, by SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(BOUND_SEC)

    def signal_supervisor(self, number: int) -> None:
        """Sends a signal to the supervisor alone."""
        os.kill(self.pid, number)

    def log(self) -> str:
        """What all its processes have logged, over all starts."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- its workers ----------------------------------------------------------------------------------------------

    @contextmanager
    def calls(self) -> Generator[BlockingStubs]:
        """Gives calls on a channel of its own."""
        channel, stubs = blocking_stubs(self.address)
        with channel:
            yield stubs

    def workers(self) -> dict[str, pb.WorkerStatus]:
        """What GetStatus says of each worker, by name; waits until somebody answers."""

        def ask() -> list[pb.WorkerStatus]:
            assert self.process is not None
            assert self.process.poll() is None, f"the daemon ended with {self.process.poll()}:\n{self.log()[-3000:]}"
            with suppress(grpc.RpcError), self.calls() as calls:
                return list(calls.status(pb.GetStatusRequest(), timeout=1.0, wait_for_ready=True).workers)
            return []

        return {one.name: one for one in wait_until(ask, "the gateway answers GetStatus")}

    def signal_workers(self, names: Sequence[str], number: int) -> dict[str, int]:
        """Sends a signal to workers, one right after the other; returns their pids.

        After SIGSTOP every thread has stopped: one that is in a system call finishes it first, a sync for example.
        """
        pids = {name: one.pid for name, one in self.workers().items() if name in names}
        assert len(pids) == len(names), f"no such workers: {names}"
        for pid in pids.values():
            os.kill(pid, number)
        if number == signal.SIGSTOP:
            wait_until(lambda: all(map(_has_stopped, pids.values())), f"{', '.join(names)} stopped")
        return pids

    def wait_replaced(self, before: dict[str, int]) -> dict[str, pb.WorkerStatus]:
        """Waits until each of these workers runs in another process; returns how all workers are then."""

        def look() -> dict[str, pb.WorkerStatus]:
            now = self.workers()
            done = all(now[name].pid != pid for name, pid in before.items())
            return now if done and all(one.state == "running" for one in now.values()) else {}

        return wait_until(look, f"{', '.join(before)} runs again")

    def processes(self) -> list[str]:
        """Every process that is this daemon's, as text: by its mark, or by a handle of its lock."""
        lock = str(self.state_dir / "mailroomd.lock")
        return [_described(one) for one in Path("/proc").iterdir() if one.name.isdigit() and self._owns(one, lock)]

    def _owns(self, process: Path, lock: str) -> bool:
        with suppress(OSError):
            if self._mark.encode() in (process / "environ").read_bytes():
                return True
            return any(str(one.readlink()) == lock for one in (process / "fd").iterdir())
        return False

    def assert_no_process_left(self) -> None:
        """Fails if anything of it is still there after a moment."""
        wait_until(lambda: not self.processes(), "no process of the daemon is left", 10.0)

    def kill_everything(self) -> None:
        """The end of a test that failed: nothing of this daemon stays on the machine."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(BOUND_SEC)
        for described in self.processes():
            with suppress(ProcessLookupError):
                os.kill(int(described.split()[0]), signal.SIGKILL)
        self.assert_no_process_left()


def _has_stopped(pid: int) -> bool:
    """Returns whether no thread of a process runs any more; also if the process has ended."""
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):
            if (thread / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return False
    return True


def _described(process: Path) -> str:
    with suppress(OSError):
        return f"{process.name} ({(process / 'comm').read_text().strip()})"
    return process.name


def is_gone(process: psutil.Process) -> bool:
    """Returns whether a process has ended, reaped or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def short_directory() -> Generator[Path]:
    """Gives a directory with a short path; it stays where it is if the test fails."""
    directory = Path(tempfile.mkdtemp(prefix="mrf-"))
    try:
        yield directory
    except BaseException:
        print(f"everything is kept in {directory}")
        raise
    shutil.rmtree(directory)


@contextmanager
def running_daemon(*flags: str) -> Generator[Daemon]:
    """Gives a running daemon, and removes everything of it at the end."""
    with short_directory() as directory:
        daemon = Daemon(directory, flags)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.kill_everything()
