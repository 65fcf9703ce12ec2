"""Supervisor — starts the workers in order, restarts what dies or is stuck, stops them in reverse.

Owns the children and their fate, by OTP's rules. It imports neither gRPC nor the database and touches no message; it
creates processes through `supervisor.spawning` only. The loop: take signals, tend each child, judge liveness,
reconcile, wait. Above: `supervisor.daemon`; below: `supervisor.child`, and the pure rules in `core`.
Invariant: one process at most for each child, and none once `run` has ended.
"""

__all__ = ["Supervisor"]

import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection

from mailroomd.core.liveness import Liveness
from mailroomd.core.restart_policy import RestartPolicy
from mailroomd.ipc.control_page import ControlPage, WorkerState
from mailroomd.model.settings import RESTORE_DIRECTORY, Settings
from mailroomd.observability.log import configure_log, log
from mailroomd.supervisor.child import Child, ChildSpec
from mailroomd.supervisor.exits import ExitCode, Refusal
from mailroomd.supervisor.reload import merge
from mailroomd.supervisor.service_report import ServiceReport
from mailroomd.supervisor.shutdown import stop_in_reverse
from mailroomd.supervisor.signals import STOPPING, SignalInbox
from mailroomd.worker.control_channel import CannotStartReport, HealthChanged, Listening, Ready, Report
from mailroomd.worker.inherited import Inherited

# A worker that is starting has not beaten yet while it imports, and recovers a database that may be large (it beats as
# it goes): so it may be silent for longer than one that works.
START_PATIENCE_SEC = 30.0


class Supervisor:
    """Runs `specs` as children until it is told to stop.

    Args:
        specs: the children in the order of their start.
        settings: handed to each worker; gives the period of liveness and the restarts allowed.
        control: the page, one slot for each of `specs`.
        lock: the state directory's lock, inherited by each worker.
        signals: the inbox, entered.
        service: hears how everything is, once in each turn.
        read_settings: reads the settings again, for a reload; raises Refusal with a sentence when they are wrong.
        on_ready: called with the bound addresses when all are ready for the first time, and when they change later.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        settings: Settings,
        control: ControlPage,
        lock: Inherited | None,
        signals: SignalInbox,
        service: ServiceReport,
        read_settings: Callable[[], Settings],
        on_ready: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._children = [Child(spec, index, control) for index, spec in enumerate(specs)]
        self._settings = settings
        self._lock = lock
        self._signals = signals
        self._service = service
        self._read_settings = read_settings
        self._on_ready = on_ready
        self._policy = RestartPolicy(settings.max_restarts, time.monotonic)
        self._liveness = Liveness(settings.stuck_after_sec, time.monotonic_ns)
        self._announced: dict[str, tuple[str, ...]] = {}
        self._told: tuple[str, ...] | None = None
        self._all_fresh = True
        self._stopping = False
        self._is_backup_seen = False

    def run(self) -> None:
        """Supervises until SIGTERM or SIGINT, then stops all children.

        Raises:
            Refusal: a child cannot start, or the restarts allowed are used up; all children have been stopped.
        """
        try:
            while not self._stopping:
                self._take_signals()
                self._tend_children()
                self._judge_liveness()
                self._restart_for_restoring()
                self._reconcile()
                self._service.look(self._children, self._addresses(), all_fresh=self._all_fresh)
                self._wait()
        finally:
            self._service.stopping()
            stop_in_reverse(self._children)

    def _take_signals(self) -> None:
        for number in self._signals.drain():
            name = signal.Signals(number).name
            if number in STOPPING:
                log.info("stopping", signal=name)
                self._stopping = True
            else:
                self._reload()

    def _reload(self) -> None:
        """Takes what can be taken of the settings as they are written now; on an error those before stay."""
        self._service.reloading()
        try:
            reload = merge(self._settings, self._read_settings())
        except Refusal as refusal:
            log.error("not reloaded, the settings stay as they were", error=refusal.sentence)
        else:
            if reload.changed:
                self._take_settings(reload.settings)
            if reload.need_restart:
                log.warning("changed settings wait for a restart", settings=list(reload.need_restart))
            log.info("reloaded", changed=list(reload.changed))
        self._service.reloaded()

    def _take_settings(self, settings: Settings) -> None:
        self._settings = settings
        self._policy.intensity = settings.max_restarts
        configure_log("supervisor", settings.log_level, settings.log_format)
        for child in self._children:
            child.hand_settings(settings)

    def _tend_children(self) -> None:
        for child in self._children:
            died = child.has_died()  # asked first, so that the last words of the dead are heard
            for report in child.hear():
                self._take_report(child, report)
            if died:
                self._reap(child)

    def _take_report(self, child: Child, report: Report) -> None:
        match report:
            case Ready():
                child.note_ready()
            case Listening(addresses):
                self._announced[child.name] = addresses
            case HealthChanged(trouble):
                child.trouble = trouble
            case CannotStartReport(sentence, exit_code):
                raise Refusal(sentence, exit_code)

    def _reap(self, child: Child) -> None:
        last_exit = child.reap(WorkerState.RESTARTING)
        if self._stopping:
            return
        log.warning("worker died", worker=child.name, pid=child.pid, epoch=child.epoch, last_exit=last_exit)
        if not self._policy.allow_restart():
            allowed = self._settings.max_restarts
            raise Refusal(
                f"gave up: more than {allowed.restarts} restarts in {allowed.period_sec:g} s, "
                f"the last because {child.name} was gone ({last_exit})",
                ExitCode.GAVE_UP,
            )

    def _judge_liveness(self) -> None:
        self._liveness.record_check()
        self._all_fresh = True
        for child in self._children:
            patience_sec = self._settings.stuck_after_sec
            if not child.is_ready:
                patience_sec = max(patience_sec, START_PATIENCE_SEC)
            if child.is_started and self._liveness.is_stuck(child.last_beat_ns, child.started_ns, patience_sec):
                self._all_fresh = False
                self._kill_stuck(child, patience_sec)

    def _kill_stuck(self, child: Child, silent_sec: float) -> None:
        """A stuck worker is killed and, once reaped, restarted; one that never got ready would not get ready then."""
        if not child.was_ready_once:
            raise Refusal(f"{child.name} did not get ready: no sign of life for {silent_sec:g} s", ExitCode.GAVE_UP)
        child.kill(f"stuck: no heartbeat for {silent_sec:g} s, killed")

    def _restart_for_restoring(self) -> None:
        """Stops every worker where a backup waits to be restored; the command-queue takes it when it starts."""
        was_seen, self._is_backup_seen = self._is_backup_seen, (self._settings.state_dir / RESTORE_DIRECTORY).is_dir()
        if self._is_backup_seen and not was_seen and self._told is not None and not self._stopping:
            log.warning("restarting every worker to restore a backup")
            stop_in_reverse(self._children)

    def _reconcile(self) -> None:
        """Starts every child that should be there and is not; at first each waits until those before it are ready."""
        if self._stopping:
            return
        for child in self._children:
            if not child.is_started:
                self._start(child)
            if not child.was_ready_once:
                return
        self._tell_ready()

    def _start(self, child: Child) -> None:
        try:
            child.start(self._addresses(), self._settings, self._lock)
        except OSError as error:
            raise Refusal(f"cannot start {child.name}: {error.strerror}", ExitCode.GAVE_UP) from error

    def _addresses(self) -> tuple[str, ...]:
        """All that is announced, each once: gateways share their TCP addresses."""
        return tuple(dict.fromkeys(address for addresses in self._announced.values() for address in addresses))

    def _tell_ready(self) -> None:
        addresses = self._addresses()
        if addresses != self._told:
            self._told = addresses
            self._on_ready(addresses)

    def _wait(self) -> None:
        if not self._stopping:
            things = [thing for child in self._children for thing in child.waitables()]
            timeout_sec = min(self._liveness.judge_every_sec, self._service.feed_every_sec)
            connection.wait([self._signals.fileno(), *things], timeout_sec)
