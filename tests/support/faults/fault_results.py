"""fault_results — what a campaign writes down: one line of JSON for each trial that broke no promise.

Owns the file, `MAILROOM_FAULT_RESULTS`; without that variable nothing is written. `fault_report` makes the figures of
docs/reliability.md from it. A trial in which a promise was broken fails its test and leaves no line.
"""

__all__ = ["RESULTS", "note_result"]

import json
import os
from pathlib import Path

from support.faults.evidence import Evidence

RESULTS = "MAILROOM_FAULT_RESULTS"


def note_result(kind: str, faults: int, evidence: Evidence) -> None:
    """Notes a trial that was judged.

    Args:
        kind: of the faults, as the report groups them.
        faults: how many were injected.
    """
    row = {
        "kind": kind,
        "faults": faults,
        "sends": len(evidence.sends),
        "readings": len(evidence.acknowledged) + len(evidence.took),
        "events": sum(len(stream.events) for stream in evidence.streams),
        "responses": len(evidence.left),
    }
    print(", ".join(f"{name} {value}" for name, value in row.items()))
    path = os.environ.get(RESULTS)
    if path:
        with Path(path).open("a") as file:
            file.write(json.dumps(row) + "\n")
