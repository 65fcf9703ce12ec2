"""One process writes a small table as fast as it can and three read it: no torn record, no gap, nothing not durable."""

import multiprocessing
import random
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import pytest
from mailroomd.memory.shared_memory import SharedMemory
from support.harness.table_children import LAYOUT, NAMES, follow, read_at_random, write_until_killed

SPAWN = multiprocessing.get_context("spawn")
RACE_SEC = 1.5  # a race needs time: tearing shows in no other way
START_SEC = 20.0  # a bound, not a wait
DEATHS = 3  # at least, even on a busy machine; an idle one reaches a dozen


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    made = SharedMemory.create("table", LAYOUT.size_bytes)
    yield made
    made.close()


@pytest.fixture
def chance() -> random.Random:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


def start(target: Callable[..., None], *args: Any) -> tuple[SpawnProcess, Connection]:
    ours, theirs = SPAWN.Pipe(duplex=False)
    child = SPAWN.Process(target=target, args=(*args, theirs), daemon=True)
    child.start()
    theirs.close()
    return child, ours


def start_writer(memory: SharedMemory, epoch: int, chance: random.Random) -> SpawnProcess:
    child, started = start(write_until_killed, memory, epoch, chance.getrandbits(32))
    assert started.poll(START_SEC)
    assert started.recv() == epoch
    started.close()
    return child


def kill(child: SpawnProcess) -> None:
    child.kill()
    child.join()
    child.close()


def start_readers(
    memory: SharedMemory, chance: random.Random, race_sec: float
) -> list[tuple[SpawnProcess, Connection]]:
    return [
        start(follow, memory, NAMES[0], race_sec),
        start(follow, memory, "", race_sec),
        start(read_at_random, memory, chance.getrandbits(32), race_sec),
    ]


def results(readers: list[tuple[SpawnProcess, Connection]]) -> list[tuple[int, int, int]]:
    reports: list[tuple[int, int, int]] = []
    for child, report in readers:
        child.join(START_SEC + RACE_SEC)
        assert child.exitcode == 0, "a reader found something wrong: see its traceback"
        reports.append(report.recv())
        report.close()
        child.close()
    return reports


def test_readers_racing_a_writer_see_no_torn_record_and_no_gap(memory: SharedMemory, chance: random.Random) -> None:
    writer = start_writer(memory, 1, chance)
    readers = start_readers(memory, chance, RACE_SEC)
    for records, answers, refusals in results(readers):
        print(f"{records} records in {answers} answers, {refusals} times not in the table")
        assert records > 100
    kill(writer)


def test_readers_survive_writers_that_are_killed_and_replaced(memory: SharedMemory, chance: random.Random) -> None:
    writer = start_writer(memory, 1, chance)
    readers = start_readers(memory, chance, 2 * RACE_SEC)
    epoch = 1
    while any(child.is_alive() for child, _ in readers):
        writer.join(0.05 + chance.random() / 10)  # let it write for a random time
        kill(writer)
        epoch += 1
        writer = start_writer(memory, epoch, chance)
    kill(writer)
    for records, answers, refusals in results(readers):
        print(f"{records} records in {answers} answers, {refusals} times not in the table, {epoch} writers")
        assert records > 100
    assert epoch > DEATHS
