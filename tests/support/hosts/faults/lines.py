"""Faults of the lines between hosts and servers: nothing arrives, or late, not always, twice, in another order.

Each lasts until a frame was affected.
"""

__all__ = ["FAULTS"]

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from support.harness.waiting import wait_until
from support.hosts.faults.stage import Fault, Stage
from support.hosts.wide_bed import HOSTS, SERVERS

EVERYBODY = (*HOSTS, *SERVERS)
AFFECTED_SEC = 30.0


@contextmanager
def _changed(
    stage: Stage, some: Iterable[str], others: Iterable[str], effect: str, **settings: float
) -> Generator[None]:
    """Changes lines for a while, at least until a frame was affected."""
    network = stage.bed.network
    before = network.counts().get(effect, 0)
    network.set_lines(list(some), list(others), **settings)
    try:
        yield
        wait_until(lambda: network.counts().get(effect, 0) > before, f"a frame is {effect}", AFFECTED_SEC)
    finally:
        network.heal()


def _host_is_cut_off(stage: Stage) -> None:
    host = stage.host()
    with _changed(stage, [host], SERVERS, "refused", is_down=True):
        stage.bed.network.set_lines(SERVERS, [host], is_down=True)
        stage.last()


def _host_is_not_heard(stage: Stage) -> None:
    with _changed(stage, [stage.host()], SERVERS, "refused", is_down=True):
        stage.last()


def _host_does_not_hear(stage: Stage) -> None:
    with _changed(stage, SERVERS, [stage.host()], "refused", is_down=True):
        stage.last()


def _server_is_cut_off_from_the_others(stage: Stage) -> None:
    """Hosts reach it still."""
    server = stage.server()
    with _changed(stage, [server], SERVERS, "refused", is_down=True):
        stage.bed.network.set_lines(SERVERS, [server], is_down=True)
        stage.last()


def _hub_is_cut_in_two(stage: Stage) -> None:
    """One server and one host on one side, everybody else on the other."""
    side = [stage.host(), stage.server()]
    rest = [name for name in EVERYBODY if name not in side]
    with _changed(stage, side, rest, "refused", is_down=True):
        stage.bed.network.set_lines(rest, side, is_down=True)
        stage.last()


def _slow_lines(stage: Stage) -> None:
    with _changed(stage, EVERYBODY, EVERYBODY, "delayed", delay_sec=0.05, jitter_sec=0.02):
        stage.last()


def _lossy_lines(stage: Stage) -> None:
    with _changed(stage, EVERYBODY, EVERYBODY, "lost", loss=0.05):
        stage.last()


def _doubling_lines(stage: Stage) -> None:
    with _changed(stage, EVERYBODY, EVERYBODY, "doubled", duplicates=0.1):
        stage.last()


def _disordered_lines(stage: Stage) -> None:
    with _changed(stage, EVERYBODY, EVERYBODY, "reordered", reordering=0.2):
        stage.last()


FAULTS: dict[str, Fault] = {
    "a host is cut off from the hub": _host_is_cut_off,
    "the hub does not hear a host": _host_is_not_heard,
    "a host does not hear the hub": _host_does_not_hear,
    "a server is cut off from the others": _server_is_cut_off_from_the_others,
    "the hub is cut in two": _hub_is_cut_in_two,
    "every line is slow (50 ± 20 ms)": _slow_lines,
    "every line loses 5 %": _lossy_lines,
    "every line doubles 10 %": _doubling_lines,
    "every line reorders 20 %": _disordered_lines,
}
