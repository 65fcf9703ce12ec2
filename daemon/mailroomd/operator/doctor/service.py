"""Service — does the daemon answer, does it take mail, and are its workers well?"""

__all__ = ["check"]

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from mailroom.errors import DaemonNotRunning, MailroomError
from mailroom.states import Health
from mailroom.stats import Status, WorkerStatus

from mailroomd.operator.doctor.findings import Finding, ok, problem, warning
from mailroomd.operator.doctor.locks import LockState, state_lock
from mailroomd.operator.places import Places

TIMEOUT_SEC = 5.0
GRACE_SEC = 0.5


def check(places: Places) -> Iterator[Finding]:
    """Asks the daemon for its health and its workers."""
    from mailroom.blocking import Mailroom

    try:
        with Mailroom(places.address.text, timeout=TIMEOUT_SEC, grace=GRACE_SEC) as client:
            health, status = client.health(), client.status()
    except DaemonNotRunning:
        yield _silent(places)
    except MailroomError as error:
        advice = "look at its log: `journalctl --user -u mailroomd` where it is a service"
        yield problem("daemon", f"it does not answer: {error.message}", advice)
    else:
        yield _health(health)
        yield from _versions(status)
        yield from map(_worker, status.workers)


def _silent(places: Places) -> Finding:
    state, pid = state_lock(places)
    if state is LockState.HELD:
        return problem(
            "daemon",
            f"mailroomd (pid {pid}) runs, but does not answer at {places.address.text}",
            "it may be starting, stopping, or listen elsewhere (--listen): look again, then at its log",
        )
    return problem(
        "daemon",
        f"nobody answers at {places.address.text}",
        "start it with `mailroomd`, or with `systemctl --user start mailroomd` where it is a service",
    )


def _health(health: Health) -> Finding:
    if health is Health.SERVING:
        return ok("daemon", "it takes mail")
    return problem("daemon", f"it takes no mail: {health.replace('_', ' ')}", "see what else is found, and its log")


def _versions(status: Status) -> Iterator[Finding]:
    try:
        own = version("mailroomd")
    except PackageNotFoundError:
        return
    if own != status.version:
        yield warning(
            "version", f"the daemon is {status.version}, this is {own}", "restart the daemon after an installation"
        )


def _worker(worker: WorkerStatus) -> Finding:
    name = f"worker {worker.name}"
    if worker.state != "running":
        return problem(name, f"it is {worker.state}", "look again in some seconds, then at the daemon's log")
    if worker.restarts:
        why = f", the last time {worker.last_exit}" if worker.last_exit else ""
        return warning(
            name, f"it runs, after {worker.restarts} restarts{why}", "look for the reason in the daemon's log"
        )
    return ok(name, f"it runs (pid {worker.pid})")
