"""run_daemon — the daemon's whole life, from its settings to its end.

Owns the order: state directory, lock, sockets, workers. Nothing is bound before the lock is held, because gRPC would
silently take over a live socket. Above: `cli.main`; below: the supervisor and its parts.
"""

__all__ = ["run_daemon"]

import faulthandler
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from mailroomd import __version__
from mailroomd.ipc.control_page import ControlPage, DaemonStatus
from mailroomd.model.clock import now_ms
from mailroomd.model.settings import Settings
from mailroomd.observability.journal import is_journal
from mailroomd.observability.log import configure_log, log
from mailroomd.supervisor.child import ChildSpec
from mailroomd.supervisor.children import mailroom_children
from mailroomd.supervisor.exits import ExitCode, Refusal
from mailroomd.supervisor.exposure import check_exposure
from mailroomd.supervisor.notifier import Notifier
from mailroomd.supervisor.preflight import create_state_dir, publish_addresses, withdraw_addresses
from mailroomd.supervisor.service_report import ServiceReport
from mailroomd.supervisor.signals import SignalQueue
from mailroomd.supervisor.socket_claims import SocketClaims
from mailroomd.supervisor.state_lock import acquire_state_lock
from mailroomd.supervisor.supervisor import Supervisor

_STDOUT = 1


def run_daemon(settings: Settings, origins: Mapping[str, str], read_settings: Callable[[], Settings]) -> None:
    """Runs the daemon in the foreground until SIGTERM or SIGINT.

    Args:
        settings: the daemon's settings; `listen` is not empty.
        origins: where each setting came from, for the log.
        read_settings: reads the settings again, for a reload; raises Refusal with a sentence if they are wrong.

    Raises:
        Refusal: the daemon cannot start, or gave up; no process is left running.
    """
    os.umask(0o077)
    configure_log("supervisor", settings.log_level, settings.log_format)
    notifier = Notifier.from_environment()
    if notifier.watchdog_sec:  # the watchdog sends SIGABRT: the journal then shows where this process hung
        faulthandler.enable()
    try:
        _run(settings, origins, read_settings, ServiceReport(notifier))
    except Refusal as refusal:
        notifier.notify(STATUS=refusal.sentence)
        raise


def _run(
    settings: Settings, origins: Mapping[str, str], read_settings: Callable[[], Settings], service: ServiceReport
) -> None:
    with SignalQueue() as signals:
        create_state_dir(settings.state_dir)
        check_exposure(settings)
        lock = acquire_state_lock(settings.state_dir, signals.wait_for_stop)
        if lock is None:
            return
        sockets = SocketClaims(settings.listen)
        withdraw_addresses(settings.state_dir)  # a predecessor that was killed left its own
        log.debug("settings", **{name: f"{getattr(settings, name)} ({origin})" for name, origin in origins.items()})
        specs = _create_children(settings)
        control = ControlPage.create(len(specs))
        control.write_daemon(DaemonStatus(__version__, now_ms(), os.getpid()))
        supervisor = Supervisor(
            specs,
            settings,
            control,
            lock,
            signals,
            service,
            read_settings,
            sockets.renew,
            partial(_announce, settings),
        )
        try:
            supervisor.run()
        finally:
            with suppress(Refusal):
                withdraw_addresses(settings.state_dir)
            sockets.release()


def _create_children(settings: Settings) -> Sequence[ChildSpec]:
    try:
        return mailroom_children(settings)
    except OSError as error:
        sentence = f"cannot create the queues and the mailbox table: {error.strerror}"
        raise Refusal(sentence, ExitCode.GAVE_UP) from None


def _announce(settings: Settings, addresses: tuple[str, ...]) -> None:
    """Announces the addresses: to clients in the file, to the user on standard output, to the operator in the log."""
    try:
        publish_addresses(settings.state_dir, addresses)
    except OSError as error:  # a full disk; clients still find the daemon at its default address
        log.error("cannot write the addresses file", error=error.strerror)
    with suppress(OSError):  # standard output may be closed; the journal gets the line below
        if not is_journal(_STDOUT):
            print(f"mailroomd {__version__} is ready: {' '.join(addresses)}", flush=True)
    log.info("ready", version=__version__, addresses=list(addresses), pid=os.getpid())
