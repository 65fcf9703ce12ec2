"""Daemon — a real mailroomd in directories of its own, which tests start, wound, watch and stop.

Everything that belongs to it is found by a mark in its environment, which every descendant inherits, and by the lock
file of its state directory: so `processes` sees orphans as well.
"""

__all__ = ["Daemon", "short_directory"]

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
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.contract import BlockingStubs, blocking_stubs
from support.harness.waiting import BOUND_SEC, wait_until

WORKERS = ("command-queue", "mailbox", "gateway")
MANY_RESTARTS = "1000/10"  # tests restart workers more often than a healthy daemon would allow
STUCK_AFTER_SEC = 1.0


@dataclass
class Daemon:
    """One daemon, over all its starts on the same directories.

    Attributes:
        directory: holds everything else, and the log; its path is short, because of the socket in it.
        flags: further flags.
        program: what is run, with the daemon's command line.
        environment: further variables; may be changed between two starts.
    """

    directory: Path
    flags: Sequence[str] = ()
    program: Sequence[str] = (str(Path(sys.executable).with_name("mailroomd")),)
    environment: dict[str, str] = field(default_factory=dict[str, str])
    root: Path = field(init=False)
    state_dir: Path = field(init=False)
    process: "subprocess.Popen[bytes] | None" = None
    _mark: str = field(default_factory=lambda: f"MARK_OF_TEST_DAEMON={secrets.token_hex(8)}", repr=False)
    _starts: int = 0

    def __post_init__(self) -> None:
        self.root = self.directory / "root"
        self.state_dir = self.directory / "state"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"unix:{self.directory}/s/mailroom.sock"

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

    def start(self) -> None:
        """Starts it and waits until it says that it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
        name, _, value = self._mark.partition("=")
        command = [*self.program]
        command += ["--root", str(self.root), "--state-dir", str(self.state_dir), "--listen", self.address]
        command += ["--stuck-after", f"{STUCK_AFTER_SEC:g}s", "--max-restarts", MANY_RESTARTS, *self.flags]
        said = self.directory / f"stdout-{self._starts}"
        with said.open("wb") as out, (self.directory / "log").open("ab") as err:
            self.process = subprocess.Popen(
                command,
                env=environment | {name: value, "HOME": str(self.directory)} | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._starts += 1
        process = self.process
        wait_until(
            lambda: " is ready: " in said.read_text() or process.poll() is not None, "the daemon says that it is ready"
        )
        assert process.poll() is None, f"the daemon ended with {process.poll()}:\n{self.log()[-3000:]}"

    def stop(self) -> int:
        """Stops it by SIGTERM; returns its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(BOUND_SEC)

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
        """Sends a signal to workers, one right after the other; returns their pids."""
        pids = {name: one.pid for name, one in self.workers().items() if name in names}
        assert len(pids) == len(names), f"no such workers: {names}"
        for pid in pids.values():
            os.kill(pid, number)
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


def _described(process: Path) -> str:
    with suppress(OSError):
        return f"{process.name} ({(process / 'comm').read_text().strip()})"
    return process.name


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
