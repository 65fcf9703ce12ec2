"""run_daemon — the whole life of the daemon, from its settings to its end.

Owns the order: directories, then the lock, then the sockets' places, then the children. Nothing is bound before the
lock is held, since gRPC would silently take a live socket over. Above: `cli.main`; below: the supervisor and its parts.
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
from mailroomd.supervisor.preflight import clear_sockets, make_state_dir, publish_addresses, withdraw_addresses
from mailroomd.supervisor.service_report import ServiceReport
from mailroomd.supervisor.signals import SignalInbox
from mailroomd.supervisor.state_lock import acquire_state_lock
from mailroomd.supervisor.supervisor import Supervisor

_STDOUT = 1


def run_daemon(settings: Settings, origins: Mapping[str, str], read_settings: Callable[[], Settings]) -> None:
    """Runs the daemon in the foreground until SIGTERM or SIGINT.

    Args:
        settings: the daemon's settings, `listen` not empty.
        origins: where each setting came from, for the log.
        read_settings: reads the settings again, for a reload; raises Refusal with a sentence when they are wrong.

    Raises:
        Refusal: it cannot start, or gave up; nothing is left running.
    """
    os.umask(0o077)
    configure_log("supervisor", settings.log_level, settings.log_format)
    notifier = Notifier.from_environment()
    if notifier.watchdog_sec:  # its SIGABRT then shows in the journal where this process hung
        faulthandler.enable()
    try:
        _run(settings, origins, read_settings, ServiceReport(notifier))
    except Refusal as refusal:
        notifier.notify(STATUS=refusal.sentence)
        raise


def _run(
    settings: Settings, origins: Mapping[str, str], read_settings: Callable[[], Settings], service: ServiceReport
) -> None:
    with SignalInbox() as signals:
        make_state_dir(settings.state_dir)
        check_exposure(settings)
        lock = acquire_state_lock(settings.state_dir, signals.wait_for_stop)
        if lock is None:
            return
        clear_sockets(settings.listen)
        withdraw_addresses(settings.state_dir)  # a predecessor that was killed left its own
        log.debug("settings", **{name: f"{getattr(settings, name)} ({origin})" for name, origin in origins.items()})
        specs = _make_children(settings)
        control = ControlPage.create(len(specs))
        control.write_daemon(DaemonStatus(__version__, now_ms(), os.getpid()))
        supervisor = Supervisor(
            specs, settings, control, lock, signals, service, read_settings, partial(_tell_ready, settings)
        )
        try:
            supervisor.run()
        finally:
            withdraw_addresses(settings.state_dir)


def _make_children(settings: Settings) -> Sequence[ChildSpec]:
    try:
        return mailroom_children(settings)
    except OSError as error:
        raise Refusal(f"no room for the queues and the table: {error.strerror}", ExitCode.GAVE_UP) from None


def _tell_ready(settings: Settings, addresses: tuple[str, ...]) -> None:
    """Tells everybody: clients by the file, the user on standard output, the operator in the log."""
    try:
        publish_addresses(settings.state_dir, addresses)
    except OSError as error:  # a full disk; clients still find the daemon by its default address
        log.error("cannot write the addresses file", error=error.strerror)
    with suppress(OSError):  # nobody reads standard output; the journal has the line below
        if not is_journal(_STDOUT):
            print(f"mailroomd {__version__} is ready: {' '.join(addresses)}", flush=True)
    log.info("ready", version=__version__, addresses=list(addresses), pid=os.getpid())
