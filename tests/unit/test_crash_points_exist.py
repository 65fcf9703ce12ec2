"""Crash points name functions of the daemon; without this test, one whose function was renamed would never fire."""

import pytest
from support.faults.crash_points import HUB_POINTS, REMOVAL_POINTS, points_of, resolve


@pytest.mark.parametrize(
    "place",
    sorted(
        {
            *(point.place for process in ("command-queue", "mailbox", "gateway") for point in points_of(process)),
            *(point.place for point in (*HUB_POINTS, *REMOVAL_POINTS)),
        }
    ),
)
def test_a_crash_point_names_a_function_that_exists(place: str) -> None:
    owner, name = resolve(place)
    assert callable(getattr(owner, name))
