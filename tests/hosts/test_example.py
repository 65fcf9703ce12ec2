"""The example with two hosts runs as its page says."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_the_example_with_two_hosts_ends_with_a_read_question() -> None:
    program = PROJECT / "examples" / "two-hosts" / "run.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "alice knows that bob has read her question"
