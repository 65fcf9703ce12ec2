"""What is published for a host: one batch at a time, and again only what it does not have."""

from itertools import pairwise

from mailroomd.core.forwarding.outgoing import ASK_AFTER_SEC, MAX_BYTES, MAX_ITEMS, Batch, Outgoing, Report, Row
from mailroomd.core.forwarding.position import BEGINNING, Position

RUN = 7


class Queue:
    """Rows with these ids, of one size."""

    def __init__(self, *ids: int, size_bytes: int = 100) -> None:
        self.ids = list(ids)
        self.size_bytes = size_bytes

    def rows(self, after_id: int, limit: int) -> list[Row]:
        return [Row(Position(RUN, item), self.size_bytes) for item in self.ids if item > after_id][:limit]


def publish(outgoing: Outgoing, now_sec: float = 0.0) -> Batch:
    batch = outgoing.next_batch()
    assert batch is not None
    outgoing.on_published(batch, batch.last, now_sec)
    return batch


def report(stored_id: int, *, misses: bool = False, is_idle: bool = False) -> Report:
    return Report({RUN: stored_id}, misses, is_idle)


def test_batches_follow_each_other_without_a_gap() -> None:
    queue = Queue(1, 2, 3)
    outgoing = Outgoing(queue.rows, BEGINNING)
    first = publish(outgoing)
    queue.ids += [5, 8]
    assert (first.after, first.last) == (BEGINNING, Position(RUN, 3))
    second = publish(outgoing)
    assert (second.after, second.last) == (Position(RUN, 3), Position(RUN, 8))
    assert outgoing.next_batch() is None


def test_a_batch_that_was_not_accepted_comes_again_unchanged() -> None:
    outgoing = Outgoing(Queue(1).rows, BEGINNING)
    assert outgoing.next_batch() is outgoing.next_batch()


def test_a_batch_ends_at_its_bounds_and_one_large_item_passes() -> None:
    assert publish(Outgoing(Queue(*range(1, 1000)).rows, BEGINNING)).last.id == MAX_ITEMS
    assert publish(Outgoing(Queue(1, 2, 3, size_bytes=MAX_BYTES // 2).rows, BEGINNING)).last.id == 2
    assert publish(Outgoing(Queue(1, 2, size_bytes=MAX_BYTES * 2).rows, BEGINNING)).last.id == 1


def test_after_a_start_what_was_sent_is_asked_about_and_not_sent_again() -> None:
    outgoing = Outgoing(Queue(1, 2, 3).rows, Position(RUN, 2))
    assert outgoing.should_ask(0.0)
    outgoing.on_asked(0.0)
    assert not outgoing.should_ask(1.0)
    assert outgoing.should_ask(ASK_AFTER_SEC)
    assert publish(outgoing).after == Position(RUN, 2), "what is new goes out without an answer: the host may be off"


def test_a_report_while_batches_are_on_their_way_repeats_nothing() -> None:
    outgoing = Outgoing(Queue(1, 2).rows, BEGINNING)
    publish(outgoing)
    outgoing.on_report(report(0), has_confirmed=False, now_sec=1.0)
    assert outgoing.next_batch() is None


def test_what_a_host_misses_is_sent_again_from_there_under_another_number() -> None:
    outgoing = Outgoing(Queue(4, 5).rows, BEGINNING)
    first = publish(outgoing)
    outgoing.on_report(report(3, is_idle=True), has_confirmed=False, now_sec=1.0)
    again = publish(outgoing)
    assert (again.after, again.last) == (Position(RUN, 3), first.last)
    assert again.copy != first.copy


def test_repetitions_pause_longer_and_longer_until_there_is_news() -> None:
    queue = Queue(1)
    outgoing = Outgoing(queue.rows, BEGINNING)
    publish(outgoing)
    times: list[float] = []
    for tick in range(200):
        outgoing.on_report(report(0, is_idle=True), has_confirmed=False, now_sec=tick / 10)
        if outgoing.next_batch() is not None:
            publish(outgoing)
            times.append(tick / 10)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > 4 * pauses[0]


def test_one_repeated_batch_waits_for_news_before_the_next() -> None:
    queue = Queue(*range(1, 2 * MAX_ITEMS + 1))
    outgoing = Outgoing(queue.rows, BEGINNING)
    publish(outgoing)
    publish(outgoing)
    outgoing.on_report(report(0, misses=True), has_confirmed=False, now_sec=1.0)
    publish(outgoing)
    assert outgoing.next_batch() is None
    queue.ids = queue.ids[MAX_ITEMS:]
    outgoing.on_report(report(MAX_ITEMS), has_confirmed=True, now_sec=2.0)
    assert publish(outgoing).last.id == 2 * MAX_ITEMS


def test_a_host_that_lost_what_it_confirmed_is_met_where_it_is() -> None:
    queue = Queue(1)
    outgoing = Outgoing(queue.rows, BEGINNING)
    publish(outgoing)
    queue.ids = []
    outgoing.on_report(report(1), has_confirmed=True, now_sec=1.0)
    outgoing.on_report(report(0, misses=True), has_confirmed=False, now_sec=2.0)
    queue.ids = [9]
    assert publish(outgoing).after == Position(RUN, 0)


def test_items_that_expired_before_the_intent_are_passed_over() -> None:
    queue = Queue(1, 2)
    outgoing = Outgoing(queue.rows, BEGINNING)
    batch = outgoing.next_batch()
    assert batch is not None
    queue.ids = []
    assert outgoing.rows_of(batch) == []
    outgoing.on_published(batch, None, 0.0)
    queue.ids = [3]
    assert publish(outgoing).after == BEGINNING
