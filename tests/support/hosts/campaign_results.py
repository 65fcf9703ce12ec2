"""campaign_results — what `make hosts` writes down: tests/hosts/results.json, and the table of docs/hosts.md.

Owns the file and the table; both are written only when every promise held (the campaign fails otherwise, and writes
nothing).
"""

__all__ = ["BEGIN", "END", "PAGE", "RESULTS_FILE", "note_campaign", "table"]

import json
import os
import platform
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.harness.waiting import seed

_PROJECT = Path(__file__).resolve().parents[3]
RESULTS_FILE = _PROJECT / "tests" / "hosts" / "results.json"
PAGE = _PROJECT / "docs" / "hosts.md"
BEGIN, END = "<!-- campaign: begin -->", "<!-- campaign: end -->"


def note_campaign(seconds: float, faults: Counter[str], messages: Counter[str]) -> None:
    """Writes both.

    Args:
        seconds: how long it was to last.
        faults: how often each was injected.
        messages: how many were accepted, and what became of them.
    """
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=_PROJECT, capture_output=True, text=True)
    results = {
        "commit": commit.stdout.strip(),
        "taken_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "seed": seed(),
        "minutes": round(seconds / 60),
        "messages": dict(sorted(messages.items())),
        "lost": 0,
        "doubled": 0,
        "faults": dict(sorted(faults.items())),
    }
    RESULTS_FILE.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}\n{table(results)}\n{END}{tail}", encoding="utf-8")


def table(results: dict[str, Any]) -> str:
    """Returns the figures of a campaign as Markdown."""
    messages, faults = results["messages"], results["faults"]
    said = (
        f"{results['minutes']} minutes on {results['cores']} cores, {results['taken_at']} UTC, commit "
        f"{results['commit']}, seed {results['seed']}: {sum(faults.values()):,} faults, {messages['accepted']:,} "
        f"messages accepted for another host. {messages['arrived']:,} arrived, {messages['returned']:,} came back, "
        f"{messages['expired']:,} expired, {messages['undone']:,} were undone by a restored backup; lost 0, doubled 0. "
        f"{messages['local']:,} messages within one host: none failed because of the hub."
    )
    rows = [f"| {name} | {times} |" for name, times in faults.items()]
    return "\n".join([said, "", "| fault | times |", "|---|---:|", *rows])
