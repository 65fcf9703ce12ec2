"""The network between machines of a bed does what it is told: each of its settings is measured with datagrams."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from statistics import mean

import pytest
from support.harness.waiting import pause
from support.hosts.network import Network, running_network

pytestmark = pytest.mark.system

PORT = 9000
COUNT = 400
GAP_SEC = 0.001  # between two datagrams
QUIET_SEC = 0.6  # without one, before all are thought to have arrived


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with running_network("a", "b", "c") as made:
        yield made


@pytest.fixture(autouse=True)
def working_lines(network: Network) -> None:
    network.heal()


def arrivals(network: Network, source: str, to: str, count: int = COUNT) -> list[tuple[int, float]]:
    """Sends numbered datagrams; returns the number of each that arrives, and how many seconds it took."""
    receiving = network.machines[to].run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sending = network.machines[source].run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    address = network.machines[to].address
    found: list[tuple[int, float]] = []
    with closing(receiving), closing(sending):
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiving.bind((address, PORT))
        receiving.settimeout(QUIET_SEC)
        for number in range(count):
            sending.sendto(f"{number} {time.monotonic()}".encode(), (address, PORT))
            receiving.settimeout(0)
            found += received(receiving)
            pause(GAP_SEC)
        receiving.settimeout(QUIET_SEC)
        found += received(receiving)
    return found


def received(receiving: socket.socket) -> Iterator[tuple[int, float]]:
    while True:
        try:
            data = receiving.recv(100)
        except (BlockingIOError, TimeoutError):
            return
        number, sent_sec = data.split()
        yield int(number), time.monotonic() - float(sent_sec)


def numbers(found: list[tuple[int, float]]) -> list[int]:
    return [number for number, _ in found]


def test_a_line_without_settings_loses_and_doubles_nothing_and_keeps_the_order(network: Network) -> None:
    found = arrivals(network, "a", "b")
    assert numbers(found) == list(range(COUNT))
    assert mean(took_sec for _, took_sec in found) < 0.02


def test_a_line_that_is_down_one_way_works_the_other_way(network: Network) -> None:
    assert arrivals(network, "a", "b", 1), "they know each other's address, which takes both ways"
    network.set_line("a", "b", is_down=True)
    assert arrivals(network, "a", "b", 20) == []
    assert numbers(arrivals(network, "b", "a", 20)) == list(range(20))
    assert numbers(arrivals(network, "a", "c", 20)) == list(range(20))
    assert network.counts()["refused"] >= 20
    network.heal()
    assert numbers(arrivals(network, "a", "b", 20)) == list(range(20))


def test_delay_and_jitter_are_those_that_were_set(network: Network) -> None:
    network.set_line("a", "b", delay_sec=0.05, jitter_sec=0.02)
    found = arrivals(network, "a", "b")
    took_sec = [took for _, took in found[10:]]
    assert numbers(found) == list(range(COUNT)), "a delay does not change the order"
    assert min(took_sec) > 0.029
    assert 0.045 < mean(took_sec) < 0.1


def test_loss_is_about_what_was_set(network: Network) -> None:
    network.set_line("a", "b", loss=0.2)
    found = numbers(arrivals(network, "a", "b", 1000))
    assert 0.7 < len(found) / 1000 < 0.9
    assert found == sorted(set(found))


def test_duplicates_are_about_what_was_set(network: Network) -> None:
    network.set_line("a", "b", duplicates=0.2)
    times = Counter(numbers(arrivals(network, "a", "b", 1000)))
    assert set(times.values()) == {1, 2}
    assert len(times) == 1000
    assert 100 < sum(count == 2 for count in times.values()) < 300


def test_reordering_delivers_everything_once_in_another_order(network: Network) -> None:
    network.set_line("a", "b", reordering=0.2)
    found = numbers(arrivals(network, "a", "b", 1000))
    assert sorted(found) == list(range(1000))
    assert sum(later < earlier for earlier, later in pairwise(found)) > 50
