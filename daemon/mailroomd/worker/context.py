"""WorkerContext — all that a worker gets from its supervisor, and all that it can tell it.

Owns the worker's end of the control_channel, its heartbeat and its share of the state directory's lock. It is not the worker's
configuration (`worker.config`), and it starts nothing (`worker.runner` does). One context for each start.
"""

__all__ = ["CannotStart", "WorkerContext"]

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import NoReturn

from mailroomd.ipc.control_page import ControlPage
from mailroomd.model.settings import Settings
from mailroomd.observability.log import configure_log
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.worker.control_channel import STOP, CannotStartReport, HealthChanged, Listening, Order, Ready, Report
from mailroomd.worker.inherited import Inherited

_LONGEST_SENTENCE = 2000  # characters: the report has to stay in one piece on the control_channel


class CannotStart(Exception):  # noqa: N818 - it names what is so, not what broke
    """Raised by a worker that a restart would not help; the daemon stops with its sentence and exit code."""

    def __init__(self, sentence: str, exit_code: int = os.EX_CONFIG) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.exit_code = exit_code


@dataclass(slots=True)
class WorkerContext:
    """A worker's place.

    Attributes:
        name: the one name of the process: title, log field, status, metrics.
        epoch: 1 at the first start of this worker, one more at each further one.
        index: its slot in the control page.
        control_channel: its end of the connection to the supervisor.
        control: the control page.
        lock: the state directory's lock, held by being inherited; None where there is none to hold.
        settings: the daemon's settings; a reload replaces them, so read them here each time they are needed.
    """

    name: str
    epoch: int
    index: int
    control_channel: Connection
    control: ControlPage
    lock: Inherited | None
    settings: Settings
    _said: set[str] = field(default_factory=set[str], init=False, repr=False, compare=False)

    @property
    def beat_interval_sec(self) -> float:
        """How often to beat: four times in the period that makes a silent worker stuck, once a second at least."""
        return min(1.0, self.settings.stuck_after_sec / 4)

    @property
    def metrics(self) -> MetricsBlock:
        """The worker's numbers, in which it counts."""
        return self.control.metrics(self.index)

    def beat(self) -> None:
        """Shows that the work goes on; call it from the loop that does the work, and within long work."""
        self.control.beat(self.index)

    def announce(self, addresses: Sequence[str]) -> None:
        """Tells which addresses are bound, in the order of those asked for; before `ready`."""
        self._report(Listening(tuple(addresses)))

    def ready(self) -> None:
        """Tells that the worker does its work from now on; saying it again does nothing."""
        if "ready" not in self._said:
            self._said.add("ready")
            self._report(Ready())

    def report_health(self, trouble: str) -> None:
        """Tells that mail is taken (no trouble), or why not; for gateways."""
        self._report(HealthChanged(trouble))

    def report_cannot_start(self, sentence: str, exit_code: int = os.EX_CONFIG) -> NoReturn:
        """Tells why there is no point in starting this worker again, and exits; the daemon stops with the same code."""
        self._report(CannotStartReport(sentence[:_LONGEST_SENTENCE], exit_code))
        raise SystemExit(exit_code)

    def control_fileno(self) -> int:
        """Returns the descriptor that becomes readable when `stop_requested` has news."""
        return self.control_channel.fileno()

    def stop_requested(self) -> bool:
        """Returns whether the supervisor has asked for an end, and takes new settings; never waits.

        Exits if the supervisor is gone.
        """
        try:
            while self.control_channel.poll():
                self._obey(self.control_channel.recv())
        except (EOFError, OSError):
            os._exit(os.EX_UNAVAILABLE)  # nobody is left to clean up for, and a successor waits for the lock
        return STOP in self._said

    def _obey(self, order: Order) -> None:
        if order == STOP:
            self._said.add(STOP)
        else:
            self.settings = order
            configure_log(self.name, order.log_level, order.log_format)

    def _report(self, report: Report) -> None:
        try:
            self.control_channel.send(report)
        except OSError:
            os._exit(os.EX_UNAVAILABLE)
