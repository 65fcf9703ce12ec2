"""docs/reliability.md names tests that exist, and has the figures of the last campaign's result file."""

import re

from support.faults.crash_points import POINTS
from support.faults.fault_report import PAGE, RESULTS_FILE, figures, read_trials

TESTS = RESULTS_FILE.parents[2]


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`((?:e2e|faults|integration|support|unit)/\w+\.py)`", PAGE.read_text()))
    assert named
    assert [name for name in named if not (TESTS / name).is_file()] == []


def test_the_figures_are_those_of_the_result_file() -> None:
    _, trials = read_trials()
    assert trials
    assert figures() in PAGE.read_text()


def test_the_number_of_crash_points_is_the_one_that_the_page_tells() -> None:
    assert f"{len(POINTS)} named points" in PAGE.read_text()
