"""PendingDeliveryMarks wait a tenth of a second for company, and go in portions."""

import math

from mailroomd.mailbox.delivery_marks import MANY, WAIT_SEC, PendingDeliveryMarks


def test_offers_go_along_with_other_commands_at_once() -> None:
    offers = PendingDeliveryMarks()
    offers.add("a", [1, 2], 10.0)
    offers.add("b", [3], 10.0)
    offers.add("a", [4], 10.0)
    assert offers.take(10.0, others_go=True) == [("a", [1, 2, 4]), ("b", [3])]
    assert offers.take(99.0, others_go=True) == []


def test_offers_without_company_wait_from_the_first_of_them() -> None:
    offers = PendingDeliveryMarks()
    offers.add("a", [1], 10.0)
    offers.add("a", [2], 10.0 + WAIT_SEC / 2)
    assert math.isclose(offers.due(10.0), WAIT_SEC)
    assert offers.take(10.0 + WAIT_SEC * 0.9, others_go=False) == []
    assert offers.due(11.0) == 0
    assert offers.take(10.0 + WAIT_SEC, others_go=False) == [("a", [1, 2])]


def test_where_nothing_was_offered_nothing_is_due() -> None:
    offers = PendingDeliveryMarks()
    assert offers.due(5.0) == math.inf
    assert offers.take(5.0, others_go=True) == []
    offers.add("a", [1], 5.0)
    offers.take(5.0, others_go=True)
    assert offers.due(5.0) == math.inf
    offers.add("a", [2], 7.0)
    assert math.isclose(offers.due(7.0), WAIT_SEC), "the next ones wait anew"


def test_many_offers_of_one_mailbox_go_in_portions() -> None:
    offers = PendingDeliveryMarks()
    numbers = list(range(2 * MANY + 1))
    offers.add("a", numbers, 0.0)
    taken = offers.take(0.0, others_go=True)
    assert [len(part) for _, part in taken] == [MANY, MANY, 1]
    assert [number for _, part in taken for number in part] == numbers
