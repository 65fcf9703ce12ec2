"""The team inboxes' thread never ends alone: what ends it ends the process, whose successor files the rest."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.harness.waiting import BOUND_SEC

PROGRAM = """
import sys
import time
from pathlib import Path
from mailroomd.observability.log import log
from mailroomd.storage.team_inbox.filing import TeamFiling
from mailroomd.storage.team_inbox.inboxes import TeamInboxes

def fail(*_args):
    raise {error}

class Failing(TeamFiling):
    _next_due = fail

if {log_fails}:
    log.exception = fail
Failing(TeamInboxes(Path(sys.argv[1])))
time.sleep(100)
"""


@pytest.mark.parametrize("log_fails", [False, True], ids=["the line is logged", "the log fails, too"])
@pytest.mark.parametrize(("error", "code"), [("MemoryError", 71), ("RuntimeError", 70)])
def test_a_failure_of_the_thread_ends_the_process(tmp_path: Path, error: str, code: int, log_fails: bool) -> None:
    program = PROGRAM.format(error=error, log_fails=log_fails)
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], timeout=BOUND_SEC, capture_output=True, check=False
    )
    assert done.returncode == code, done.stderr.decode()
    assert log_fails or b"team inbox thread failed" in done.stdout + done.stderr
