"""Child — one worker, seen by its supervisor: what it is (data), and its present process.

Owns the process, the supervisor's end of its control_channel, its epoch and its status. It decides nothing: whether a child is
stuck, may be restarted or has to stop is said by `supervisor.supervisor`.
Invariant: a new process is started only after the one before it has been reaped.
"""

__all__ = ["Child", "ChildSpec"]

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from mailroomd.ipc.control_page import ControlPage, WorkerState, WorkerStatus
from mailroomd.model.clock import now_ms
from mailroomd.model.settings import Settings
from mailroomd.supervisor.exits import describe_exit
from mailroomd.supervisor.spawning import SpawnProcess, spawn_worker
from mailroomd.worker.control_channel import STOP, Report
from mailroomd.worker.inherited import Inherited
from mailroomd.worker.runner import WorkerContext


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What the supervisor has to know of a worker.

    Attributes:
        name: the one name of the process.
        target: "module:function", called with (context, config).
        configure: makes the config for a start from the addresses that have been announced so far.
        shutdown_sec: how long it may take to stop.
        stops_with: children next to each other with the same word here are stopped at the same time.
    """

    name: str
    target: str
    configure: Callable[[tuple[str, ...]], object]
    shutdown_sec: float
    stops_with: str


class Child:
    """A worker's present process, if there is one, and its history."""

    def __init__(self, spec: ChildSpec, index: int, control: ControlPage) -> None:
        self.spec = spec
        self.name = spec.name
        self.epoch = 0
        self.was_ready_once = False
        self.started_ns = 0
        self.kill_reason = ""
        self._index = index
        self._control = control
        self._process: SpawnProcess | None = None
        self._control_channel: Connection | None = None
        self.trouble = ""
        self._status = WorkerStatus(spec.name, 0, WorkerState.STARTING, 0, 0, "")

    @property
    def is_started(self) -> bool:
        """Whether there is a process, alive or not yet reaped."""
        return self._process is not None

    @property
    def is_ready(self) -> bool:
        """Whether the present process has said that it is ready."""
        return self._status.state is WorkerState.RUNNING

    @property
    def state(self) -> WorkerState:
        """Where it is between its start and its end."""
        return self._status.state

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return self._status.restarts

    @property
    def pid(self) -> int:
        """The process id of the present process, or of the one before."""
        return self._status.pid

    @property
    def last_beat_ns(self) -> int:
        """The newest heartbeat, which may be a predecessor's."""
        return self._control.last_beat(self._index)

    def start(self, addresses: tuple[str, ...], settings: Settings, lock: Inherited | None) -> None:
        """Starts the next process of this worker.

        Raises:
            OSError: the system has no process, memory or descriptor for it.
        """
        self.epoch += 1
        self.kill_reason = ""
        self.trouble = ""
        self._control_channel, theirs = multiprocessing.Pipe()
        context = WorkerContext(self.name, self.epoch, self._index, theirs, self._control, lock, settings)
        self.started_ns = time.monotonic_ns()
        self._process = spawn_worker(context, self.spec.target, self.spec.configure(addresses))
        state = WorkerState.STARTING if self.epoch == 1 else WorkerState.RESTARTING
        self._publish(pid=self._process.pid or 0, state=state, started_at_ms=now_ms())

    @property
    def sentinel(self) -> int:
        """What becomes readable when the process dies."""
        assert self._process is not None
        return self._process.sentinel

    def waitables(self) -> list[int | Connection]:
        """Returns what becomes readable when this child dies or says something."""
        found: list[int | Connection] = []
        if self._process is not None:
            found.append(self._process.sentinel)
        if self._control_channel is not None:
            found.append(self._control_channel)
        return found

    def hear(self) -> list[Report]:
        """Takes what the worker has said; never waits."""
        reports: list[Report] = []
        while self._control_channel is not None:
            try:
                if not self._control_channel.poll():
                    break
                reports.append(self._control_channel.recv())
            except (EOFError, OSError):
                self._close_control_channel()
        return reports

    def note_ready(self) -> None:
        """Publishes that the worker does its work."""
        self.was_ready_once = True
        self._publish(state=WorkerState.RUNNING)

    def hand_settings(self, settings: Settings) -> None:
        """Sends settings that hold from now on; small enough for some hundreds of them to wait in the control_channel."""
        with suppress(OSError):  # it is dead already; its successor starts with them
            if self._control_channel is not None:
                self._control_channel.send(settings)

    def ask_to_stop(self) -> None:
        """Says STOP; whether it is heard shows when the process exits."""
        if self._process is None:
            return
        self._publish(state=WorkerState.STOPPING)
        with suppress(OSError):  # it is dead already
            if self._control_channel is not None:
                self._control_channel.send(STOP)

    def kill(self, kill_reason: str) -> None:
        """Sends SIGKILL, for the reason given; the process is there until it has been reaped."""
        if self._process is not None and not self.kill_reason:
            self.kill_reason = kill_reason
            self._process.kill()

    def has_died(self) -> bool:
        """Returns whether the process is dead and can be reaped without waiting."""
        return self._process is not None and self._process.exitcode is not None

    def reap(self, then: WorkerState) -> str:
        """Waits for the end of a process that is dying, publishes the state that follows, returns what became of it."""
        assert self._process is not None
        self._process.join()
        exit_code = self._process.exitcode or 0
        self._process.close()
        self._process = None
        self._close_control_channel()
        last_exit = self.kill_reason or describe_exit(exit_code)
        restarts = self._status.restarts + (then is WorkerState.RESTARTING)
        self._publish(state=then, restarts=restarts, last_exit=last_exit)
        return last_exit

    def _close_control_channel(self) -> None:
        if self._control_channel is not None:
            self._control_channel.close()
            self._control_channel = None

    def _publish(self, **changes: object) -> None:
        self._status = replace(self._status, **changes)
        self._control.write_status(self._index, self._status)
