"""PendingDeliveryMarks wait up to a tenth of a second for another command, and go in batches."""

import math

from mailroomd.mailbox.delivery_marks import MAX_DELAY_SEC, MAX_IDS, PendingDeliveryMarks


def test_marks_join_other_commands_at_once() -> None:
    marks = PendingDeliveryMarks()
    marks.record_delivered("a", [1, 2], 10.0)
    marks.record_delivered("b", [3], 10.0)
    marks.record_delivered("a", [4], 10.0)
    assert marks.drain_due(10.0, joins_others=True) == [("a", [1, 2, 4]), ("b", [3])]
    assert marks.drain_due(99.0, joins_others=True) == []


def test_without_other_commands_marks_wait_counted_from_the_first() -> None:
    marks = PendingDeliveryMarks()
    marks.record_delivered("a", [1], 10.0)
    marks.record_delivered("a", [2], 10.0 + MAX_DELAY_SEC / 2)
    assert math.isclose(marks.due_in_sec(10.0), MAX_DELAY_SEC)
    assert marks.drain_due(10.0 + MAX_DELAY_SEC * 0.9, joins_others=False) == []
    assert marks.due_in_sec(11.0) == 0
    assert marks.drain_due(10.0 + MAX_DELAY_SEC, joins_others=False) == [("a", [1, 2])]


def test_without_marks_nothing_is_due() -> None:
    marks = PendingDeliveryMarks()
    assert marks.due_in_sec(5.0) == math.inf
    assert marks.drain_due(5.0, joins_others=True) == []
    marks.record_delivered("a", [1], 5.0)
    marks.drain_due(5.0, joins_others=True)
    assert marks.due_in_sec(5.0) == math.inf
    marks.record_delivered("a", [2], 7.0)
    assert math.isclose(marks.due_in_sec(7.0), MAX_DELAY_SEC), "the delay starts again"


def test_many_marks_of_one_mailbox_go_in_several_commands() -> None:
    marks = PendingDeliveryMarks()
    ids = list(range(2 * MAX_IDS + 1))
    marks.record_delivered("a", ids, 0.0)
    drained = marks.drain_due(0.0, joins_others=True)
    assert [len(part) for _, part in drained] == [MAX_IDS, MAX_IDS, 1]
    assert [message_id for _, part in drained for message_id in part] == ids
