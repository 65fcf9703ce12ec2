"""docs/hosts.md has the figures of the last campaign: those of its result file, and none if there was no campaign."""

import json
from typing import Any

from support.hosts.campaign_results import BEGIN, END, PAGE, RESULTS_FILE, table
from support.hosts.faults.table import FAULTS


def results() -> dict[str, Any]:
    """Returns the result file; {} if no campaign has ended yet."""
    return json.loads(RESULTS_FILE.read_text(encoding="utf-8")) if RESULTS_FILE.exists() else {}


def test_the_figures_are_those_of_the_result_file() -> None:
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == (table(results()) if results() else "")


def test_the_campaign_has_injected_every_fault_of_the_table() -> None:
    assert set(results().get("faults", FAULTS)) == set(FAULTS)
