"""WorkerContext — everything a worker gets from its supervisor, and everything it can report back.

Owns the worker's end of the control channel, its heartbeat and its share of the state directory's lock. Not here: the
worker's configuration (`worker.config`), the entry point (`worker.runner`). There is one context per start.
"""

__all__ = ["EX_REPLACE", "CannotStart", "CannotStartYet", "WorkerContext"]

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import NoReturn

from mailroomd.ipc.control_page import ControlPage
from mailroomd.model.settings import Settings
from mailroomd.observability.log import configure_log
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.worker.control_channel import (
    STOP,
    Alive,
    CannotStartReport,
    ControlMessage,
    HealthChanged,
    Listening,
    Ready,
    Report,
)
from mailroomd.worker.inherited import InheritedDescriptor

EX_REPLACE = os.EX_TEMPFAIL
"""The exit code of a worker whose environment has changed so that only a new process can go on, such as a lost socket.
The supervisor replaces it at once and counts nothing."""

_MAX_SENTENCE_CHARS = 2000  # a report must travel in one piece (`worker.control_channel`)


class CannotStart(Exception):  # noqa: N818 - names a condition, not an error
    """Raised by a worker that a restart would not help; the daemon ends with its sentence and exit code."""

    def __init__(self, sentence: str, exit_code: int = os.EX_CONFIG) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.exit_code = exit_code


class CannotStartYet(Exception):  # noqa: N818 - names a condition, not an error
    """Raised by a worker that its environment keeps from starting for now; it is restarted after a delay."""


@dataclass(slots=True)
class WorkerContext:
    """The connection of one worker to its supervisor.

    Attributes:
        name: the unique name of the process: its title, and its name in log, status and metrics.
        epoch: 1 at the first start of this worker, incremented at each restart.
        index: its slot in the control page.
        control_channel: its end of the connection to the supervisor.
        control: the control page.
        lock: the lock of the state directory, held by inheriting it; None if there is none to hold.
        settings: the daemon's settings. A reload replaces them, so read them here each time they are needed.
    """

    name: str
    epoch: int
    index: int
    control_channel: Connection
    control: ControlPage
    lock: InheritedDescriptor | None
    settings: Settings
    _is_ready: bool = field(default=False, init=False, repr=False, compare=False)
    _is_stop_requested: bool = field(default=False, init=False, repr=False, compare=False)

    @property
    def beat_interval_sec(self) -> float:
        """How often to send a heartbeat: four times per `--stuck-after`, and at least once per second."""
        return min(1.0, self.settings.stuck_after_sec / 4)

    @property
    def metrics(self) -> MetricsBlock:
        """The worker's own metrics, in shared memory."""
        return self.control.metrics(self.index)

    def beat(self) -> None:
        """Sends a heartbeat; call it from the worker's main loop, and during long work."""
        self.control.beat(self.index)

    def report_alive(self) -> None:
        """Reports that the worker's code is loaded, and that its own work begins."""
        self._report(Alive())

    def report_addresses(self, addresses: Sequence[str]) -> None:
        """Reports the bound addresses, in the order in which they were requested; before `report_ready`."""
        self._report(Listening(tuple(addresses)))

    def report_ready(self) -> None:
        """Reports that the worker is running; repeated calls do nothing."""
        if not self._is_ready:
            self._is_ready = True
            self._report(Ready())

    def report_health(self, problem: str) -> None:
        """Reports that a gateway accepts mail (an empty text), or why it does not."""
        self._report(HealthChanged(problem))

    def report_cannot_start(self, sentence: str, exit_code: int = os.EX_CONFIG) -> NoReturn:
        """Reports why a restart would not help, and exits; the daemon ends with the same code."""
        self._report(CannotStartReport(sentence[:_MAX_SENTENCE_CHARS], exit_code))
        raise SystemExit(exit_code)

    def control_fileno(self) -> int:
        """Returns the descriptor that becomes readable when `stop_requested` should be called."""
        return self.control_channel.fileno()

    def stop_requested(self) -> bool:
        """Applies pending control messages and returns whether STOP was among them, now or earlier; never waits.

        Exits if the supervisor is gone.
        """
        try:
            while self.control_channel.poll():
                self._apply(self.control_channel.recv())
        except (EOFError, OSError):
            os._exit(os.EX_UNAVAILABLE)  # without cleaning up: a new daemon may be waiting for the lock
        return self._is_stop_requested

    def _apply(self, message: ControlMessage) -> None:
        if message == STOP:
            self._is_stop_requested = True
        else:
            self.settings = message
            configure_log(self.name, message.log_level, message.log_format)

    def _report(self, report: Report) -> None:
        try:
            self.control_channel.send(report)
        except OSError:
            os._exit(os.EX_UNAVAILABLE)
