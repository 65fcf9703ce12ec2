"""fault_report — the figures of docs/reliability.md, from the result file of a campaign.

A program: `begin` starts a result file with the machine and the commit, `write` puts its figures into the page between
its marks. Owns the file's form, one JSON object in each line: the head, then the trials (`fault_results`).
"""

__all__ = ["PAGE", "RESULTS_FILE", "figures", "read_trials"]

import json
import os
import platform
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PROJECT = Path(__file__).resolve().parents[3]
RESULTS_FILE = _PROJECT / "tests" / "faults" / "results" / "trials.jsonl"
PAGE = _PROJECT / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
COLUMNS = ("faults", "sends", "readings", "responses", "events")


def begin() -> None:
    """Starts a new result file."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=_PROJECT, capture_output=True, text=True)
    head = {
        "commit": commit.stdout.strip(),
        "taken_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    RESULTS_FILE.parent.mkdir(exist_ok=True)
    RESULTS_FILE.write_text(json.dumps(head) + "\n")


def read_trials() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the head and the trials of the last campaign."""
    head, *trials = map(json.loads, RESULTS_FILE.read_text().splitlines())
    return head, trials


def figures() -> str:
    """Returns the table of the last campaign as Markdown."""
    head, trials = read_trials()
    sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(("trials", *COLUMNS), 0))
    for trial in trials:
        for kind in (trial["kind"], "**all**"):
            sums[kind]["trials"] += 1
            for column in COLUMNS:
                sums[kind][column] += trial[column]
    everything = sums.pop("**all**")
    rows = [_row(kind, sums[kind]) for kind in sorted(sums)]
    return "\n".join(
        [
            "| fault | loads | faults | sends acknowledged | reads | responses | events on streams "
            "| lost, doubled, torn |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            *rows,
            _row("**all**", everything),
            "",
            f"Taken {head['taken_at']} UTC at commit {head['commit']}, on {head['cores']} cores, "
            f"Linux {head['kernel']}, Python {head['python']}, by `make faults`. "
            "A load that breaks a promise fails, and is not counted here.",
            *([head["note"]] if "note" in head else []),
        ]
    )


def _row(kind: str, sums: dict[str, int]) -> str:
    return f"| {kind} | {sums['trials']:,} | " + " | ".join(f"{sums[column]:,}" for column in COLUMNS) + " | 0 |"


def write() -> None:
    """Puts the figures into the page."""
    head, rest = PAGE.read_text().split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}\n{figures()}\n{END}{tail}")


if __name__ == "__main__":
    {"begin": begin, "write": write}[sys.argv[1]]()
