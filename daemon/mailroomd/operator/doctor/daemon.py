"""Daemon — does it respond, does it accept messages, and are its workers running?"""

__all__ = ["check"]

import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from mailroom.errors import DaemonNotRunning, MailroomError
from mailroom.state_lock import read_state_lock
from mailroom.states import Health
from mailroom.stats import Status, WorkerStatus

from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation

TIMEOUT_SEC = 5.0
GRACE_SEC = 0.5


def check(installation: Installation) -> Iterator[Finding]:
    """Asks the daemon for its health and its workers."""
    from mailroom.blocking import Mailroom

    try:
        with Mailroom(installation.address.text, timeout=TIMEOUT_SEC, grace=GRACE_SEC) as client:
            health, status = client.health(), client.status()
    except DaemonNotRunning:
        yield _unreachable(installation)
    except MailroomError as error:
        advice = "see its log: `journalctl --user -u mailroomd` if it is a service"
        yield problem("daemon", f"not responding: {error.message}", advice)
    else:
        yield _check_health(health)
        yield from _check_version(status)
        yield from map(_check_worker, status.workers)


def _unreachable(installation: Installation) -> Finding:
    lock, path = read_state_lock(installation.state_dir), installation.address.socket_path
    if lock.is_held and path and not os.path.lexists(path):
        return problem(
            "daemon",
            f"mailroomd (pid {lock.pid or 'unknown'}) is running, but its socket is gone: {path} was removed",
            "check again in a few seconds; if it is still gone, restart `mailroomd`",
        )
    if lock.is_held:
        return problem(
            "daemon",
            f"mailroomd (pid {lock.pid or 'unknown'}) is running, but not responding at {installation.address.text}",
            "it may be starting, stopping, or listening elsewhere (--listen): try again, then see its log",
        )
    return problem(
        "daemon",
        f"not running: no answer at {installation.address.text}",
        "start it with `mailroomd`, or with `systemctl --user start mailroomd` if it is a service",
    )


def _check_health(health: Health) -> Finding:
    if health is Health.SERVING:
        return ok("daemon", "serving")
    advice = "see the other findings, and its log"
    return problem("daemon", f"not accepting messages: {health.replace('_', ' ')}", advice)


def _check_version(status: Status) -> Iterator[Finding]:
    try:
        installed = version("mailroomd")
    except PackageNotFoundError:
        return
    if installed != status.version:
        summary = f"the daemon is version {status.version}, but {installed} is installed"
        yield warning("version", summary, "restart the daemon after an upgrade")


def _check_worker(worker: WorkerStatus) -> Finding:
    name = f"worker {worker.name}"
    if worker.state != "running":
        return problem(name, worker.state, "try again in a few seconds, then see the daemon's log")
    if worker.restarts:
        last_exit = f"; last exit: {worker.last_exit}" if worker.last_exit else ""
        times = "once" if worker.restarts == 1 else f"{worker.restarts} times"
        return warning(name, f"running, restarted {times}{last_exit}", "see the daemon's log for the reason")
    return ok(name, f"running (pid {worker.pid})")
