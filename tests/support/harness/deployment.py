"""Deployment — a daemon and a client of it, for tests of the contract: started, asked through raw stubs, looked into.

Not here: load and faults at random moments (tests/faults).
"""

__all__ = ["Deployment", "new_deployment", "running_deployment"]

import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import grpc
import psutil
from support.faults.write_watch import watch_command
from support.harness.client import Client
from support.harness.daemon import MAILROOMD, Daemon, is_gone
from support.harness.waiting import BOUND_SEC, wait_until

# A file system of its own for the state directory, which other processes see below /proc/PID/root only.
_SMALL_DISK = 'mkdir -p "$0" && mount -t tmpfs -o size=24m,mode=700 tmpfs "$0" && exec "$@"'
# Takes away root's power to ignore permissions. Another uid would do, too, but may not even reach the interpreter.
_ORDINARY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
_agents = itertools.count(1)


class Deployment(Client):
    """A daemon with directories of its own, and a client of it.

    Attributes:
        directory: holds everything; short, because a socket's path is.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.directory = daemon.directory
        super().__init__(daemon.address)

    # -- the daemon -----------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        """Where inbox/ is; a new value holds from the next start on."""
        return self.daemon.root

    @root.setter
    def root(self, root: Path) -> None:
        self.daemon.root = root

    @property
    def state_dir(self) -> Path:
        """The directory of the database."""
        return self.daemon.state_dir

    @state_dir.setter
    def state_dir(self, state_dir: Path) -> None:
        self.daemon.state_dir = state_dir

    @property
    def target(self) -> str:
        """Where the daemon listens; a new value holds from the next start on."""
        return self.daemon.address

    @target.setter
    def target(self, target: str) -> None:
        self.daemon.address = target

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        """The supervisor's process, while it runs."""
        return self.daemon.process

    @property
    def addresses(self) -> list[str]:
        """Where the daemon listens."""
        return self.daemon.addresses

    def start(self, *flags: str) -> None:
        """Starts the daemon and returns when it is ready."""
        self.daemon.start(*flags)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stops the daemon and returns its exit code."""
        code = self.daemon.stop(number)
        self.daemon.process = None
        return code

    def wait_for_end(self) -> int:
        """Returns the daemon's exit code."""
        assert self.daemon.process is not None
        code = self.daemon.process.wait(BOUND_SEC)
        self.daemon.process = None
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
        return self.daemon.log()

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
def new_deployment(
    *flags: str,
    minds_permissions: bool = False,
    small_disk: bool = False,
    descriptors: int = 0,
    watched: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Generator[Deployment]:
    """Gives directories and a client for a daemon that is not started yet.

    Args:
        minds_permissions: it meets permission errors also when root runs the tests.
        small_disk: its state directory lies on a file system of 24 MiB, of its own.
        descriptors: that each of its processes may have; 0 for what is usual.
        watched: every change that it makes to the file system is traced, into `trace` in its directory.
        environment: further variables.
    """
    directory = Path(tempfile.mkdtemp(prefix="mailroom-", dir="/tmp"))
    prefix: tuple[str, ...] = _ORDINARY if minds_permissions and os.geteuid() == 0 else ()
    if descriptors:
        prefix = ("prlimit", f"--nofile={descriptors}:{descriptors}")
    if small_disk:
        prefix = _on_a_small_disk(directory / "state")
    if watched:
        prefix = watch_command(directory / "trace")
    if environment:
        prefix = ("env", *(f"{name}={value}" for name, value in environment.items()), *prefix)
    deployment = Deployment(Daemon(directory, flags, program=(*prefix, MAILROOMD), base_flags=()))
    try:
        yield deployment
    finally:
        _end(deployment)


def _on_a_small_disk(state_dir: Path) -> tuple[str, ...]:
    """Returns the beginning of a command that runs with a file system of its own for the state directory."""
    namespaces = ("--mount",) if os.geteuid() == 0 else ("--mount", "--map-root-user")
    return "unshare", *namespaces, "sh", "-c", _SMALL_DISK, str(state_dir)


def _end(deployment: Deployment) -> None:
    """Ends the daemon and removes its directories; fails if it has ended by itself."""
    deployment.close()
    ended, log = None, ""
    if deployment.process is not None:
        ended, log = deployment.process.poll(), deployment.log()
        if ended is None:
            deployment.kill()
        else:
            deployment.wait_for_end()
    shutil.rmtree(deployment.directory)
    assert ended is None, f"the daemon ended by itself, with {ended}:\n{log}"


@contextmanager
def running_deployment(*flags: str, **options: Any) -> Generator[Deployment]:
    """Gives a daemon that runs; the options are `new_deployment`'s."""
    with new_deployment(*flags, **options) as deployment:
        deployment.start()
        yield deployment
