"""A packet queue carries whole items in order, refuses when it is full, and survives foreign packets."""

import array
import asyncio
import errno
import os
import pickle
import resource
import selectors
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from mailroomd.ipc.queue import MAX_PACKET_BYTES, SEND_BYTES, PacketQueue, TornPacket
from support.harness.queue_children import Halt, Items, Note, new_queue, note, receive_some, send_all

WITHIN_SEC = 10  # the bound of every wait
LARGE = MAX_PACKET_BYTES + 1  # content that cannot be inline
# A packet with one note of this much content is exactly MAX_PACKET_BYTES long.
LARGEST_INLINE = MAX_PACKET_BYTES - (1 + len(msgspec.msgpack.encode([note(1, LARGE - 1000)])) - (LARGE - 1000))


@pytest.fixture
def queue() -> Iterator[Items]:
    made = new_queue()
    yield made
    made.close()


@contextmanager
def writer_of(queue: Items) -> Generator[socket.socket]:
    """A foreign sender at the writer's end, which can send what the queue would not."""
    with socket.socket(fileno=os.dup(queue.writer_fileno())) as end:
        yield end


@contextmanager
def no_free_descriptor() -> Generator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def fill(queue: Items, size: int = 300) -> int:
    for number in range(10_000):
        if not queue.send_items([note(number, size)]):
            return number
    raise AssertionError("the queue is never full")


def numbers(items: list[Note | Halt]) -> list[int]:
    return [item.number for item in items if isinstance(item, Note)]


def test_items_come_out_in_the_order_they_went_in(queue: Items) -> None:
    assert queue.send_items([note(1, 10)]) == 1
    assert queue.send_items([Halt("why not")]) == 1
    assert queue.send_items([note(2, 10), note(3, 10)]) == 2
    assert queue.receive_items() == [note(1, 10), Halt("why not"), note(2, 10), note(3, 10)]


def test_one_kind_of_item_is_enough() -> None:
    only: PacketQueue[Halt] = PacketQueue("only", (Halt,))
    only.send_items([Halt("alone")])
    assert (only.name, only.receive_items()) == ("only", [Halt("alone")])
    only.close()


def test_an_empty_queue_gives_an_empty_list_and_sending_nothing_sends_nothing(queue: Items) -> None:
    assert queue.receive_items() == []
    assert queue.send_items([]) == 0
    assert queue.receive_items() == []


def test_a_full_queue_keeps_what_it_has_and_takes_one_more_for_each_received(queue: Items) -> None:
    count = fill(queue)
    assert queue.send_items([note(0, 300)]) == 0
    assert queue.receive_items(max_packets=1) == [note(0, 300)]
    assert queue.send_items([note(count, 300)]) == 1  # poll reports no room yet, but the kernel accepts it
    assert numbers(queue.receive_items(10_000)) == list(range(1, count + 1))


def test_a_waiting_sender_goes_on_when_room_is_made(queue: Items) -> None:
    count = fill(queue)
    seen: list[Note | Halt] = []

    def read() -> None:
        while len(seen) < count + 50:
            seen.extend(receive_some(queue))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(count, count + 50):
        send_all(queue, note(number, 300))
    reader.join(WITHIN_SEC)
    assert numbers(seen) == list(range(count + 50))


def test_a_waiting_reader_is_given_what_comes(queue: Items) -> None:
    writer = threading.Timer(0.01, queue.send_items, [[note(7, 10)]])
    writer.start()
    assert receive_some(queue) == [note(7, 10)]
    writer.join(WITHIN_SEC)


def test_no_more_packets_are_received_than_asked_for(queue: Items) -> None:
    for number in range(5):
        queue.send_items([note(number, 10)])
    assert numbers(queue.receive_items(max_packets=2)) == [0, 1]
    assert numbers(queue.receive_items()) == [2, 3, 4]


def test_many_small_items_share_few_packets(queue: Items) -> None:
    items: list[Note | Halt] = [note(number, 300) for number in range(600)]
    assert queue.send_items(items) == 600
    packets = [queue.receive_items(max_packets=1) for _ in range(3)]
    assert all(packets)
    assert [item for packet in packets for item in packet] == items


@pytest.mark.parametrize(("size", "count"), [(0, 60_000), (300, 3_000), (5_000, 200), (40_000, 60), (LARGE, 500)])
def test_the_leading_items_that_fit_are_sent_and_the_next_call_goes_on(queue: Items, size: int, count: int) -> None:
    items: list[Note | Halt] = [note(number, size) for number in range(count)]
    sent = queue.send_items(items)
    assert 0 < sent < len(items)
    fill(queue, 300)  # what is left of the room
    assert queue.send_items(items[sent:]) == 0
    assert queue.receive_items(10_000)[:sent] == items[:sent]
    more = queue.send_items(items[sent:])
    assert more > 0
    assert queue.receive_items(10_000) == items[sent : sent + more]


def test_one_call_sends_no_more_than_its_bound_and_the_item_that_exceeds_it(queue: Items) -> None:
    items: list[Note | Halt] = [note(number, SEND_BYTES // 2 + 1) for number in range(5)]
    assert [queue.send_items(items[start:]) for start in (0, 2, 4)] == [2, 2, 1]
    assert queue.receive_items() == items


def test_items_that_found_no_room_are_sent_as_they_are_then(queue: Items) -> None:
    fill(queue, 300)
    assert queue.send_items([note(1, 10), note(2, 10)]) == 0
    queue.receive_items(10_000)
    assert queue.send_items([note(3, 10), note(2, 10)]) == 2
    assert queue.receive_items() == [note(3, 10), note(2, 10)]
    fill(queue, 300)
    assert queue.send_items([note(1, 10)]) == 0
    queue.receive_items(10_000)
    assert queue.send_items([note(1, 10), note(2, 10)]) == 2
    assert queue.receive_items() == [note(1, 10), note(2, 10)]


def test_large_and_small_items_keep_their_order_in_one_call(queue: Items) -> None:
    sizes = [10, LARGE, 10, 10, LARGE, LARGE, 30_000, 30_000, 30_000, 0]
    items: list[Note | Halt] = [note(number, size) for number, size in enumerate(sizes)]
    assert queue.send_items(items) == len(items)
    assert queue.receive_items() == items


def test_every_size_around_the_largest_inline_packet_arrives_whole(queue: Items) -> None:
    for size in range(LARGEST_INLINE - 40, LARGEST_INLINE + 41):
        assert queue.send_items([note(1, size)]) == 1
        assert queue.receive_items() == [note(1, size)]


def test_sizes_from_nothing_to_beyond_a_megabyte_arrive_whole(queue: Items) -> None:
    for size in [0, 1, 31, 32, 255, 256, 65_535, 65_536, *range(1_000, 1_300_000, 61_803), 1 << 20, (1 << 20) + 1]:
        send_all(queue, note(size, size), note(0, 0))
        assert queue.receive_items() == [note(size, size), note(0, 0)]


def test_a_memfd_is_used_only_above_the_largest_inline_packet(queue: Items) -> None:
    with no_free_descriptor():
        queue.send_items([note(1, LARGEST_INLINE)])
        with pytest.raises(OSError, match="Too many open files"):
            queue.send_items([note(2, LARGEST_INLINE + 1)])
    assert queue.receive_items() == [note(1, LARGEST_INLINE)]


sizes_that_matter = st.one_of(
    st.integers(0, 600),
    st.integers(LARGEST_INLINE - 300, LARGEST_INLINE + 300),
    st.integers(20_000, 33_000),
    st.sampled_from([65_535, 65_536, 131_072, 1 << 20]),
)


@settings(deadline=None, database=None, max_examples=60)
@given(batches=st.lists(st.lists(sizes_that_matter, max_size=80), max_size=4))
def test_any_batches_of_any_sizes_come_out_as_they_went_in(batches: list[list[int]]) -> None:
    queue = new_queue()
    before = open_descriptors()
    for sizes in batches:
        waiting: list[Note | Halt] = [note(number, size) for number, size in enumerate(sizes)]
        while waiting:
            sent = queue.send_items(waiting)
            assert sent > 0
            assert queue.receive_items() == waiting[:sent]
            del waiting[:sent]
    assert open_descriptors() == before
    queue.close()


def test_large_items_leave_no_descriptor_behind_on_either_side(queue: Items) -> None:
    before = open_descriptors()
    for number in range(20):
        assert queue.send_items([note(number, LARGE)]) == 1
    assert open_descriptors() == before
    assert len(queue.receive_items()) == 20
    fill(queue, LARGE)  # the last one was refused
    assert open_descriptors() == before


def test_a_received_descriptor_is_not_inherited_by_started_programs(
    queue: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    inheritable: list[bool] = []
    close = os.close

    def check_and_close(descriptor: int) -> None:
        inheritable.append(os.get_inheritable(descriptor))
        close(descriptor)

    queue.send_items([note(1, LARGE)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", check_and_close)
        queue.receive_items()
    assert inheritable == [False]


def test_a_queue_closed_with_large_items_in_it_leaves_no_descriptor_behind() -> None:
    before = open_descriptors()
    queue = new_queue()
    fill(queue, LARGE)
    queue.close()
    assert open_descriptors() == before


def test_the_ends_are_not_inherited_by_started_programs(queue: Items) -> None:
    assert not os.get_inheritable(queue.reader_fileno())
    assert not os.get_inheritable(queue.writer_fileno())


def test_a_sender_without_descriptors_gets_an_error_and_sends_nothing(queue: Items) -> None:
    with no_free_descriptor():
        with pytest.raises(OSError, match="Too many open files") as raised:
            queue.send_items([note(1, LARGE)])
        assert raised.value.errno == errno.EMFILE
        with pytest.raises(OSError, match="Too many open files"):
            queue.send_items([note(1, LARGE), note(2, 10)])
    assert queue.receive_items() == []


def test_what_was_sent_before_an_item_that_could_not_be_sent_is_counted(queue: Items) -> None:
    items: list[Note | Halt] = [note(1, 10), note(2, 10), note(3, LARGE), note(4, 10)]
    with no_free_descriptor():
        assert queue.send_items(items) == 2
    assert queue.send_items(items[2:]) == 2
    assert queue.receive_items() == items


def test_a_reader_without_descriptors_gets_an_error_and_then_goes_on(queue: Items) -> None:
    before = open_descriptors()
    queue.send_items([note(1, LARGE)])
    queue.send_items([note(2, 10)])
    with no_free_descriptor(), pytest.raises(TornPacket, match="no free descriptor"):
        queue.receive_items()
    assert queue.receive_items() == [note(2, 10)]
    assert open_descriptors() == before


def send_foreign(queue: Items, content: bytes, *descriptors: int) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    with writer_of(queue) as end:
        end.sendmsg([content], rights)
    for descriptor in set(descriptors):
        os.close(descriptor)


def memfd(content: bytes) -> int:
    descriptor = os.memfd_create("foreign", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    return descriptor


def null_device() -> int:
    return os.open("/dev/null", os.O_RDONLY)


NOTES = msgspec.msgpack.encode([note(1, 20)])
FOREIGN: dict[str, Callable[[Items], None]] = {
    "longer than a packet": lambda queue: send_foreign(queue, b"\0" + bytes(MAX_PACKET_BYTES)),
    "of length 0": lambda queue: send_foreign(queue, b""),
    "a prefix alone": lambda queue: send_foreign(queue, b"\0"),
    "an unknown prefix": lambda queue: send_foreign(queue, b"\x02" + NOTES),
    "cut short": lambda queue: send_foreign(queue, b"\0" + NOTES[:-1]),
    "with something behind it": lambda queue: send_foreign(queue, b"\0" + NOTES + b"\0"),
    "not a list": lambda queue: send_foreign(queue, b"\0" + msgspec.msgpack.encode(note(1, 20))),
    "an item of another queue": lambda queue: send_foreign(queue, b"\0" + msgspec.msgpack.encode([["other", 1]])),
    "text that is not UTF-8": lambda queue: send_foreign(queue, b"\0\x91\x92\xa4halt\xa1\xff"),
    "a memfd announced, none there": lambda queue: send_foreign(queue, b"\x01"),
    "a memfd beside an inline packet": lambda queue: send_foreign(queue, b"\0" + NOTES, memfd(NOTES)),
    "a memfd that is not sealed": lambda queue: send_foreign(queue, b"\x01", memfd(NOTES)),
    "a device instead of a memfd": lambda queue: send_foreign(queue, b"\x01", null_device()),
    "two descriptors": lambda queue: send_foreign(queue, b"\x01", memfd(NOTES), null_device()),
    "many descriptors": lambda queue: send_foreign(queue, b"\x01", *[null_device()] * 50),
}


@pytest.mark.parametrize("send", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_packet_is_reported_and_the_packets_around_it_are_kept(
    queue: Items, send: Callable[[Items], None]
) -> None:
    before = open_descriptors()
    queue.send_items([note(1, 10)])
    send(queue)
    queue.send_items([note(2, 10), note(3, 10)])
    with pytest.raises(TornPacket, match="queue tested"):
        queue.receive_items()
    assert numbers(queue.receive_items()) == [1, 2, 3]
    send(queue)
    with pytest.raises(TornPacket, match="queue tested"):
        queue.receive_items(max_packets=1)
    assert queue.receive_items() == []
    assert open_descriptors() == before


@settings(deadline=None, database=None, max_examples=200)
@given(content=st.binary(max_size=40), prefixed=st.booleans())
def test_arbitrary_bytes_never_break_the_reader(content: bytes, prefixed: bool) -> None:
    queue = new_queue()
    send_foreign(queue, b"\0" + content if prefixed else content)
    queue.send_items([note(1, 10)])
    with suppress(TornPacket):
        queue.receive_items(max_packets=1)
    assert queue.receive_items()[-1] == note(1, 10)
    queue.close()


def test_an_empty_list_is_received_as_no_item(queue: Items) -> None:
    send_foreign(queue, b"\0\x90")
    assert queue.receive_items() == []
    send_foreign(queue, b"\0\x90")
    queue.send_items([note(1, 10)])
    assert queue.receive_items() == [note(1, 10)]


def test_a_holder_that_makes_an_end_blocking_makes_no_other_holder_wait(queue: Items) -> None:
    assert not os.get_blocking(queue.reader_fileno())
    assert not os.get_blocking(queue.writer_fileno())
    os.set_blocking(queue.reader_fileno(), True)
    os.set_blocking(queue.writer_fileno(), True)
    assert queue.receive_items() == []
    assert fill(queue) > 0


USES: dict[str, Callable[[Items], object]] = {
    "send_items": lambda queue: queue.send_items([note(1, 10)]),
    "receive_items": lambda queue: queue.receive_items(),
    "reader_fileno": lambda queue: queue.reader_fileno(),
    "writer_fileno": lambda queue: queue.writer_fileno(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_closed_queue_says_that_it_is_closed(queue: Items, use: Callable[[Items], object]) -> None:
    queue.send_items([note(1, 10), note(2, 10)])
    queue.close()
    queue.close()
    with pytest.raises(ValueError, match="PacketQueue 'tested' is closed"):
        use(queue)


def test_a_selector_sees_waiting_packets_and_free_room(queue: Items) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(queue.reader_fileno(), selectors.EVENT_READ, "reader")
        selector.register(queue.writer_fileno(), selectors.EVENT_WRITE, "writer")

        def ready() -> set[str]:
            return {key.data for key, _ in selector.select(0)}

        assert ready() == {"writer"}
        queue.send_items([note(1, 10)])
        assert ready() == {"reader", "writer"}
        fill(queue)
        assert ready() == {"reader"}
        queue.receive_items(10_000)
        assert ready() == {"writer"}


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_an_event_loop_carries_far_more_than_the_queue_holds(
    queue: Items, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    backlog: list[Note | Halt] = [note(number, LARGE if number % 500 == 0 else 300) for number in range(3_000)]
    seen: list[Note | Halt] = []

    async def carry() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def write() -> None:
            del backlog[: queue.send_items(backlog)]
            if not backlog:
                loop.remove_writer(queue.writer_fileno())

        def read() -> None:
            seen.extend(queue.receive_items())
            if len(seen) == 3_000:
                loop.remove_reader(queue.reader_fileno())
                done.set()

        loop.add_reader(queue.reader_fileno(), read)
        loop.add_writer(queue.writer_fileno(), write)
        async with asyncio.timeout(WITHIN_SEC):
            await done.wait()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(carry())
    assert len(seen) == 3_000
    assert all(after == before + 1 for before, after in pairwise(numbers(seen)))


def test_pickling_is_refused_unless_a_child_is_being_spawned(queue: Items) -> None:
    with pytest.raises(RuntimeError, match="through inheritance"):
        pickle.dumps(queue)
