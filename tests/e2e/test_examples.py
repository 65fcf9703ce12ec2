"""The examples run, as their own README says."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_two_agents_talk_and_a_third_is_woken() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "two-agents" / "run.py"], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("RESULT: ok\n")
    assert "builder  has an order from planner: build it" in done.stdout
    assert "porter   was woken by planner: it is built: lock the doors" in done.stdout
    assert "'offered', 'read'" in done.stdout
