"""Faults of processes: a server, a worker or a whole daemon is killed, or stops for a while."""

__all__ = ["FAULTS"]

import os
import signal
from contextlib import suppress

from support.hosts.faults.stage import Fault, Stage
from support.hosts.wide_bed import SERVERS

LOCAL_WORKERS = ("mailbox", "command-queue", "gateway")


def _server_killed(stage: Stage) -> None:
    broker = stage.bed.brokers[stage.server()]
    broker.kill()
    stage.last()
    broker.start()


def _servers_killed(stage: Stage) -> None:
    for name in SERVERS:
        stage.bed.brokers[name].kill()
    stage.last()
    stage.bed.start_brokers()


def _server_stops(stage: Stage) -> None:
    broker = stage.bed.brokers[stage.server()]
    broker.pause()
    try:
        stage.last()
    finally:
        broker.resume()


def _relay_killed(stage: Stage) -> None:
    daemon = stage.bed.hosts[stage.host()].daemon
    daemon.wait_replaced(daemon.signal_workers(["relay"], signal.SIGKILL))


def _relay_stops(stage: Stage) -> None:
    """It is replaced when it has not beaten for a while."""
    daemon = stage.bed.hosts[stage.host()].daemon
    before = daemon.signal_workers(["relay"], signal.SIGSTOP)
    stage.last()
    with suppress(ProcessLookupError):  # it has been replaced
        os.kill(before["relay"], signal.SIGCONT)


def _worker_killed(stage: Stage) -> None:
    host = stage.host()
    daemon = stage.bed.hosts[host].daemon
    with stage.bed.harming(host):
        daemon.wait_replaced(daemon.signal_workers([stage.chance.choice(LOCAL_WORKERS)], signal.SIGKILL))


def _worker_stops(stage: Stage) -> None:
    host = stage.host()
    daemon = stage.bed.hosts[host].daemon
    with stage.bed.harming(host):
        daemon.wait_replaced(daemon.signal_workers([stage.chance.choice(LOCAL_WORKERS)], signal.SIGSTOP))


def _daemon_killed(stage: Stage) -> None:
    host = stage.host()
    daemon = stage.bed.hosts[host].daemon
    with stage.bed.harming(host):
        daemon.kill_supervisor()
        stage.last()
        daemon.start()


def _daemon_is_off(stage: Stage) -> None:
    host = stage.host()
    daemon = stage.bed.hosts[host].daemon
    with stage.bed.harming(host):
        daemon.stop()
        stage.last()
        daemon.start()


def _daemon_stops(stage: Stage) -> None:
    """Every process of it, as in a machine that is suspended."""
    host = stage.host()
    daemon = stage.bed.hosts[host].daemon
    pids = [int(described.split()[0]) for described in daemon.processes()]
    with stage.bed.harming(host):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            stage.last()
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        assert daemon.workers()


FAULTS: dict[str, Fault] = {
    "a server is killed": _server_killed,
    "all servers are killed": _servers_killed,
    "a server stops for a while": _server_stops,
    "a relay is killed": _relay_killed,
    "a relay stops for a while": _relay_stops,
    "another worker is killed": _worker_killed,
    "another worker stops": _worker_stops,
    "a daemon is killed": _daemon_killed,
    "a daemon is off for a while": _daemon_is_off,
    "a daemon stops for a while": _daemon_stops,
}
