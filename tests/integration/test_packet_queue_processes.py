"""Packet queues between processes that are killed: no torn item, no gap, no leaked descriptor."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from support.harness import queue_children as children
from support.harness.queue_children import (
    LARGE_BYTES,
    Halt,
    Items,
    Note,
    new_queue,
    note,
    numbered,
    receive_some,
    send_all,
    wait_for_packet,
)

WITHIN_SEC = 20  # the bound of every wait
TICK_SEC = 0.002
TICK_MS = 2
FLOODS = 24  # writers killed at a random moment
DRAINS = 6  # readers killed at a random moment
EPOCH = 1_000_000  # numbers of one writer's items, so that a successor's are told apart

spawn = get_context("spawn")
Start = Callable[..., SpawnProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[SpawnProcess] = []

    def start_child(target: Callable[..., None], *args: object) -> SpawnProcess:
        child = spawn.Process(target=target, args=args, daemon=True)
        child.start()
        started.append(child)
        return child

    yield start_child
    for child in started:
        with suppress(ValueError):  # the test has killed and closed it
            kill(child)


@pytest.fixture
def queue() -> Iterator[Items]:
    made = new_queue()
    yield made
    made.close()


@pytest.fixture
def chance() -> random.Random:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


def kill(child: SpawnProcess) -> None:
    child.kill()
    child.join(WITHIN_SEC)
    assert not child.is_alive()
    child.close()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def wait_until_asleep(child: SpawnProcess) -> None:
    """Waits until the child sleeps in the kernel; if it has announced it, that is its wait for the queue."""
    deadline = time.monotonic() + WITHIN_SEC
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0] != "S":
        assert time.monotonic() < deadline
        child.join(TICK_SEC)
        assert child.is_alive()


def checked_numbers(items: list[Note | Halt]) -> list[int]:
    """Returns the items' numbers, after checking each whole item."""
    numbers: list[int] = []
    for item in items:
        assert isinstance(item, Note)
        assert item == numbered(item.number)
        numbers.append(item.number)
    return numbers


def large(number: int) -> Note:
    return note(number, LARGE_BYTES)


def read_until(queue: Items, enough: Callable[[list[Note | Halt]], bool]) -> list[Note | Halt]:
    deadline = time.monotonic() + WITHIN_SEC
    items: list[Note | Halt] = []
    while not enough(items):
        assert time.monotonic() < deadline
        wait_for_packet(queue, TICK_MS)
        items += queue.receive_items(4)
    return items


def test_items_travel_to_a_spawned_child_and_back(queue: Items, start: Start) -> None:
    echoes = new_queue("echoes")
    child = start(children.echo, queue, echoes, 200)
    for number in range(200):
        send_all(queue, numbered(number))
    assert checked_numbers(read_until(echoes, lambda items: len(items) == 200)) == list(range(200))
    child.join(WITHIN_SEC)
    assert child.exitcode == 0
    echoes.close()


def test_a_childs_ends_are_not_inherited_by_programs_that_it_starts(queue: Items, start: Start) -> None:
    told, result = spawn.Pipe(duplex=False)
    start(children.report_inheritable, queue, result)
    assert told.poll(WITHIN_SEC)
    assert told.recv() == [False, False]
    told.close()
    result.close()


def test_the_successor_of_a_reader_killed_while_waiting_gets_everything(queue: Items, start: Start) -> None:
    echoes = new_queue("echoes")
    told, ready = spawn.Pipe(duplex=False)
    for _ in range(3):
        killed = start(children.wait_then_receive, queue, ready)
        assert told.poll(WITHIN_SEC)
        assert told.recv() == "waiting"
        wait_until_asleep(killed)
        kill(killed)
    successor = start(children.echo, queue, echoes, 40)
    for number in range(40):
        send_all(queue, numbered(number))
    assert checked_numbers(read_until(echoes, lambda items: len(items) == 40)) == list(range(40))
    successor.join(WITHIN_SEC)
    for end in (told, ready, echoes):
        end.close()


def test_a_writer_killed_at_any_moment_leaves_whole_items_without_a_gap(
    queue: Items, start: Start, chance: random.Random
) -> None:
    descriptors: list[int] = []
    for epoch in range(FLOODS):
        first = epoch * EPOCH
        writer = start(children.flood, queue, first, chance.choice([1, 7, 50, 400]))
        enough = chance.randrange(1, 3_000)
        seen = read_until(queue, lambda items, enough=enough: len(items) >= enough)
        writer.join(chance.random() * 2 * TICK_SEC)  # sometimes long enough to be killed while waiting for room
        writer.kill()
        if chance.random() < 0.5:  # read while it dies, or only once it is gone
            seen += queue.receive_items()
        kill(writer)
        seen += queue.receive_items(10_000)
        assert checked_numbers(seen) == list(range(first, first + len(seen)))
        assert queue.receive_items() == []
        descriptors.append(open_descriptors())
    assert set(descriptors) == {descriptors[0]}
    start(children.send_range, queue, FLOODS * EPOCH, 500)
    seen = read_until(queue, lambda items: len(items) == 500)
    assert checked_numbers(seen) == list(range(FLOODS * EPOCH, FLOODS * EPOCH + 500))


def test_a_writer_killed_while_it_waits_for_room_leaves_what_it_had_sent(queue: Items, start: Start) -> None:
    told, ready = spawn.Pipe(duplex=False)
    writer = start(children.fill_then_block, queue, ready)
    assert told.poll(WITHIN_SEC)
    count = told.recv()
    wait_until_asleep(writer)
    kill(writer)
    start(children.send_range, queue, EPOCH, 300)  # begins on a full queue
    seen = read_until(queue, lambda items: len(items) == count + 300)
    assert checked_numbers(seen) == [*range(count), *range(EPOCH, EPOCH + 300)]
    told.close()
    ready.close()


def test_a_reader_killed_amid_large_items_loses_only_what_it_had_received(
    queue: Items, start: Start, chance: random.Random
) -> None:
    told, ready = spawn.Pipe(duplex=False)
    descriptors: list[int] = []
    for _ in range(DRAINS):
        reader = start(children.drain_forever, queue, ready)
        assert told.poll(WITHIN_SEC)
        told.recv()
        before = chance.randrange(1, 100)
        for number in range(before):
            send_all(queue, large(number))
        kill(reader)
        for number in range(before, before + 30):
            send_all(queue, large(number))
        seen = queue.receive_items(10_000)
        assert seen == [large(number) for number in range(before + 30 - len(seen), before + 30)]
        assert len(seen) >= 30
        descriptors.append(open_descriptors())
    assert set(descriptors) == {descriptors[0]}
    told.close()
    ready.close()


def test_more_descriptors_in_flight_than_a_user_may_have_is_a_full_queue(queue: Items, start: Start) -> None:
    told, result = spawn.Pipe(duplex=False)
    child = start(children.run_into_descriptors_in_flight, queue, result)
    assert told.poll(WITHIN_SEC)
    sent, is_full, drained = told.recv()
    assert 0 < sent < 100
    assert is_full
    assert drained == sent
    assert receive_some(queue) == [note(101, LARGE_BYTES)]
    child.join(WITHIN_SEC)
    assert child.exitcode == 0
    told.close()
    result.close()
