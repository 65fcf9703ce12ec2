"""Supervisor — starts the workers in order, restarts those that die or get stuck, stops them in reverse.

Owns the children and decides what happens to them, by OTP's rules. It imports neither gRPC nor the database, handles no
message, and creates processes only through `supervisor.spawning`. Its loop: handle signals, process reports and deaths,
check heartbeats, start what is missing, wait. Above: `supervisor.daemon`; below: `supervisor.child` and the pure rules
in `core`.
Invariant: at most one process per child, and none once `run` has ended.
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
from mailroomd.supervisor.signals import STOP_SIGNALS, SignalQueue
from mailroomd.worker.context import EX_REPLACE
from mailroomd.worker.control_channel import Alive, CannotStartReport, HealthChanged, Listening, Ready, Report
from mailroomd.worker.inherited import InheritedDescriptor
from mailroomd.worker.shortage import ShortageDetector

# A starting worker has not sent a heartbeat yet while it imports, and it may have a large database to recover (it beats
# while it does). So it may be silent for longer than a running one.
START_PATIENCE_SEC = 30.0


class Supervisor:
    """Runs `specs` as children until it is told to stop.

    Args:
        specs: the children in the order of their start.
        settings: passed to each worker; they set the heartbeat timeout and the restarts allowed.
        control: the control page, with one slot for each of `specs`.
        lock: the lock of the state directory, inherited by each worker.
        signals: the queue of signals, entered.
        service: is updated once per loop.
        read_settings: reads the settings again, for a reload; raises Refusal with a sentence if they are wrong.
        renew_claims: called once per loop; takes again what was taken from the daemon's sockets.
        on_addresses: called with the bound addresses when all children are ready for the first time, and whenever the
            addresses change later.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        settings: Settings,
        control: ControlPage,
        lock: InheritedDescriptor | None,
        signals: SignalQueue,
        service: ServiceReport,
        read_settings: Callable[[], Settings],
        renew_claims: Callable[[], None],
        on_addresses: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._children = [Child(spec, index, control) for index, spec in enumerate(specs)]
        self._settings = settings
        self._lock = lock
        self._signals = signals
        self._service = service
        self._read_settings = read_settings
        self._renew_claims = renew_claims
        self._on_addresses = on_addresses
        self._restart_policy = RestartPolicy(settings.max_restarts, time.monotonic)
        self._shortages = ShortageDetector()
        self._liveness = Liveness(settings.stuck_after_sec, time.monotonic_ns)
        self._bound_by_worker: dict[str, tuple[str, ...]] = {}
        self._published: tuple[str, ...] | None = None
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
                self._handle_signals()
                self._handle_reports_and_deaths()
                self._check_liveness()
                self._restart_for_restore()
                self._renew_claims()
                self._start_missing()
                self._service.update(self._children, self._addresses(), all_fresh=self._all_fresh)
                self._wait()
        finally:
            self._service.begin_stop()
            stop_in_reverse(self._children)

    def _handle_signals(self) -> None:
        for signum in self._signals.drain():
            if signum in STOP_SIGNALS:
                log.info("stopping", signal=signal.Signals(signum).name)
                self._stopping = True
            else:
                self._reload()

    def _reload(self) -> None:
        """Applies the reloadable settings as they are now; on an error the current ones stay in effect."""
        self._service.begin_reload()
        try:
            reload = merge(self._settings, self._read_settings())
        except Refusal as refusal:
            log.error("reload failed, keeping the current settings", error=refusal.sentence)
        else:
            if reload.changed:
                self._apply_settings(reload.settings)
            if reload.need_restart:
                log.warning("changed settings need a restart", settings=list(reload.need_restart))
            log.info("settings reloaded", changed=list(reload.changed))
        self._service.end_reload()

    def _apply_settings(self, settings: Settings) -> None:
        self._settings = settings
        self._restart_policy.intensity = settings.max_restarts
        configure_log("supervisor", settings.log_level, settings.log_format)
        for child in self._children:
            child.send_settings(settings)

    def _handle_reports_and_deaths(self) -> None:
        for child in self._children:
            has_died = child.has_died()  # checked first, so that the last reports of a dead worker are processed
            for report in child.receive_reports():
                self._handle_report(child, report)
            if has_died:
                self._reap(child)

    def _handle_report(self, child: Child, report: Report) -> None:
        match report:
            case Alive():
                child.is_alive = True
            case Ready():
                child.mark_ready()
            case Listening(addresses):
                self._bound_by_worker[child.name] = addresses
            case HealthChanged(problem):
                child.problem = problem
            case CannotStartReport(sentence, exit_code):
                raise Refusal(sentence, exit_code)

    def _reap(self, child: Child) -> None:
        last_exit = child.reap(WorkerState.RESTARTING)
        if self._stopping:
            return
        log.warning("worker exited", worker=child.name, pid=child.pid, epoch=child.epoch, last_exit=last_exit)
        has_shortage = not child.kill_reason and self._shortages.caused(child.last_exit_code)
        if child.was_ready_once and has_shortage:
            self._delay_restart(child, "worker ran out of memory or descriptors")
        elif child.was_ready_once and child.last_exit_code > 0 and not child.is_alive:
            # Before it is alive, a worker runs only what its predecessors ran, too: the environment has changed.
            self._delay_restart(child, "worker ended before its code was loaded")
        elif not (child.was_ready_once and child.last_exit_code == EX_REPLACE):
            self._count_restart(child, last_exit)

    def _delay_restart(self, child: Child, event: str, **fields: str) -> None:
        """Restarts a child later, because of its environment; this counts towards nothing."""
        log.error(event, worker=child.name, restart_in_sec=child.restart_delay.after_shortage(), **fields)

    def _count_restart(self, child: Child, last_exit: str) -> None:
        if not self._restart_policy.allow_restart():
            allowed = self._settings.max_restarts
            raise Refusal(
                f"gave up after more than {allowed.restarts} restarts in {allowed.period_sec:g} s; "
                f"the last worker to exit was {child.name} ({last_exit}). The log says why.",
                ExitCode.GAVE_UP,
            )

    def _check_liveness(self) -> None:
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
        """Kills a stuck worker, which is restarted once reaped; gives up on one that has never become ready."""
        if not child.was_ready_once:
            sentence = f"{child.name} did not start: no heartbeat for {silent_sec:g} s"
            raise Refusal(sentence, ExitCode.GAVE_UP)
        child.kill(f"stuck: no heartbeat for {silent_sec:g} s, killed")

    def _restart_for_restore(self) -> None:
        """Stops every worker when a backup is waiting to be restored; the command-queue restores it at its start."""
        was_seen, self._is_backup_seen = self._is_backup_seen, (self._settings.state_dir / RESTORE_DIRECTORY).is_dir()
        if self._is_backup_seen and not was_seen and self._published is not None and not self._stopping:
            log.warning("restarting all workers to restore a backup")
            stop_in_reverse(self._children)

    def _start_missing(self) -> None:
        """Starts every child that has no process; at first, each waits until its predecessor is ready."""
        if self._stopping:
            return
        for child in self._children:
            if not child.is_started and child.restart_delay.is_over():
                self._start(child)
            if not child.was_ready_once:
                return
        self._publish_addresses()

    def _start(self, child: Child) -> None:
        try:
            child.start(self._addresses(), self._settings, self._lock)
        except (OSError, MemoryError) as error:
            reason = error.strerror if isinstance(error, OSError) else "out of memory"
            if not child.was_ready_once:
                raise Refusal(f"cannot start {child.name}: {reason}", ExitCode.GAVE_UP) from error
            self._delay_restart(child, "cannot start a process for the worker", error=str(reason))

    def _addresses(self) -> tuple[str, ...]:
        """Every bound address once: gateways share their TCP addresses."""
        return tuple(dict.fromkeys(address for bound in self._bound_by_worker.values() for address in bound))

    def _publish_addresses(self) -> None:
        addresses = self._addresses()
        if addresses != self._published:
            self._published = addresses
            self._on_addresses(addresses)

    def _wait(self) -> None:
        if not self._stopping:
            handles = [handle for child in self._children for handle in child.wait_handles()]
            timeout_sec = min(self._liveness.judge_every_sec, self._service.feed_every_sec)
            connection.wait([self._signals.fileno(), *handles], timeout_sec)
