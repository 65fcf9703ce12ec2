"""Child — one worker as its supervisor sees it: a specification and the current process.

Owns the process, the supervisor's end of its control channel, its epoch and its published status.
Not here: decisions. Whether a child is stuck, is restarted or has to stop is decided by `supervisor.supervisor`.
Invariant: a new process is started only after its predecessor has been reaped.
"""

__all__ = ["Child", "ChildSpec"]

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from mailroomd.core.restart_delay import RestartDelay
from mailroomd.ipc.control_page import ControlPage, WorkerState, WorkerStatus
from mailroomd.model.clock import now_ms
from mailroomd.model.settings import Settings
from mailroomd.supervisor.exits import describe_exit
from mailroomd.supervisor.spawning import SpawnProcess, spawn_worker
from mailroomd.worker.control_channel import STOP, Report
from mailroomd.worker.inherited import InheritedDescriptor
from mailroomd.worker.runner import WorkerContext


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """Everything the supervisor needs to know to run a worker.

    Attributes:
        name: the unique name of the process.
        target: "module:function", called with (context, config).
        configure: returns the config for a start, given the addresses that workers have reported so far.
        shutdown_sec: how long the worker may take to stop.
        stop_group: adjacent children with the same group are stopped at the same time.
    """

    name: str
    target: str
    configure: Callable[[tuple[str, ...]], object]
    shutdown_sec: float
    stop_group: str


class Child:
    """A worker's current process, if there is one, and its history."""

    def __init__(self, spec: ChildSpec, index: int, control: ControlPage) -> None:
        self.spec = spec
        self.name = spec.name
        self.epoch = 0
        self.was_ready_once = False
        self.is_alive = False
        self.started_ns = 0
        self.kill_reason = ""
        self.problem = ""
        self.last_exit_code = 0
        self.restart_delay = RestartDelay(time.monotonic)
        self._index = index
        self._control = control
        self._process: SpawnProcess | None = None
        self._control_channel: Connection | None = None
        self._status = WorkerStatus(spec.name, 0, WorkerState.STARTING, 0, 0, "")

    @property
    def is_started(self) -> bool:
        """Whether there is a process, alive or not yet reaped."""
        return self._process is not None

    @property
    def is_ready(self) -> bool:
        """Whether the current process has reported that it is ready."""
        return self._status.state is WorkerState.RUNNING

    @property
    def state(self) -> WorkerState:
        """The worker's state, as it is published."""
        return self._status.state

    @property
    def restarts(self) -> int:
        """How many times the worker was restarted."""
        return self._status.restarts

    @property
    def pid(self) -> int:
        """The process id of the current process, or of the last one."""
        return self._status.pid

    @property
    def last_beat_ns(self) -> int:
        """The latest heartbeat; it may be a predecessor's."""
        return self._control.last_beat(self._index)

    def start(self, addresses: tuple[str, ...], settings: Settings, lock: InheritedDescriptor | None) -> None:
        """Starts the worker's next process.

        Raises:
            OSError: the system is out of processes, memory or descriptors.
        """
        self.epoch += 1
        self.kill_reason = ""
        self.problem = ""
        self.is_alive = False
        self._control_channel, worker_end = multiprocessing.Pipe()
        context = WorkerContext(self.name, self.epoch, self._index, worker_end, self._control, lock, settings)
        self.started_ns = time.monotonic_ns()
        try:
            self._process = spawn_worker(context, self.spec.target, self.spec.configure(addresses))
        except BaseException:
            worker_end.close()
            self._close_control_channel()
            raise
        state = WorkerState.STARTING if self.epoch == 1 else WorkerState.RESTARTING
        self._publish(pid=self._process.pid or 0, state=state, started_at_ms=now_ms())

    @property
    def sentinel(self) -> int:
        """A descriptor that becomes readable when the process dies."""
        assert self._process is not None
        return self._process.sentinel

    def wait_handles(self) -> list[int | Connection]:
        """Returns what becomes readable when this child dies or sends a report."""
        handles: list[int | Connection] = []
        if self._process is not None:
            handles.append(self._process.sentinel)
        if self._control_channel is not None:
            handles.append(self._control_channel)
        return handles

    def receive_reports(self) -> list[Report]:
        """Returns the reports that the worker has sent; never waits."""
        reports: list[Report] = []
        while self._control_channel is not None:
            try:
                if not self._control_channel.poll():
                    break
                reports.append(self._control_channel.recv())
            except (EOFError, OSError):
                self._close_control_channel()
        return reports

    def mark_ready(self) -> None:
        """Publishes that the worker is running."""
        self.was_ready_once = True
        self._publish(state=WorkerState.RUNNING)

    def send_settings(self, settings: Settings) -> None:
        """Sends reloaded settings. They are small: several hundred of them fit into the channel's buffer."""
        with suppress(OSError):  # the process is dead already; its successor starts with these settings
            if self._control_channel is not None:
                self._control_channel.send(settings)

    def request_stop(self) -> None:
        """Sends STOP. The exit of the process is the only answer."""
        if self._process is None:
            return
        self._publish(state=WorkerState.STOPPING)
        with suppress(OSError):  # the process is dead already
            if self._control_channel is not None:
                self._control_channel.send(STOP)

    def kill(self, kill_reason: str) -> None:
        """Sends SIGKILL and records why; the process still has to be reaped."""
        if self._process is not None and not self.kill_reason:
            self.kill_reason = kill_reason
            self._process.kill()

    def has_died(self) -> bool:
        """Returns whether the process is dead and can be reaped without waiting."""
        return self._process is not None and self._process.exitcode is not None

    def reap(self, next_state: WorkerState) -> str:
        """Waits for a dying process to end, publishes the next state, and returns how the process ended."""
        assert self._process is not None
        self._process.join()
        exit_code = self._process.exitcode or 0
        self._process.close()
        self._process = None
        self._close_control_channel()
        self.last_exit_code = exit_code
        last_exit = self.kill_reason or describe_exit(exit_code)
        restarts = self._status.restarts + (next_state is WorkerState.RESTARTING)
        self._publish(state=next_state, restarts=restarts, last_exit=last_exit)
        return last_exit

    def _close_control_channel(self) -> None:
        if self._control_channel is not None:
            self._control_channel.close()
            self._control_channel = None

    def _publish(self, **changes: object) -> None:
        self._status = replace(self._status, **changes)
        self._control.write_status(self._index, self._status)
