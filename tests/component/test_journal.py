"""Log lines in the journal: it is recognized by device and inode, and each line has a priority."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mailroomd.observability.journal import is_journal, prefixed

PROGRAM = """
from mailroomd.observability.log import configure_log, log, print_error
configure_log("mailbox", "debug", {form!r})
log.debug("scanning", path="/here")
log.warning("worker exited", worker="gateway", pid=7)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("worker failed")
print_error("cannot start")
"""


def lines_in_the_journal(path: Path, form: str) -> list[str]:
    """Runs the program with its standard error in the file that JOURNAL_STREAM names."""
    with path.open("wb") as err:
        status = os.fstat(err.fileno())
        environment = os.environ | {
            "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        subprocess.run([sys.executable, "-c", PROGRAM.format(form=form)], env=environment, stderr=err, check=True)
    return path.read_text().splitlines()


def test_journal_lines_are_text_with_a_priority(tmp_path: Path) -> None:
    lines = lines_in_the_journal(tmp_path / "journal", "auto")
    assert lines[:3] == [
        "<7>mailbox: scanning path='/here'",
        "<4>mailbox: worker exited worker='gateway' pid=7",
        "<3>mailbox: worker failed",
    ]
    assert all(line.startswith("<3>") for line in lines[2:])
    assert "<3>    ZeroDivisionError: division by zero" in lines
    assert lines[-1] == "<3>mailroomd: cannot start"


def test_json_lines_have_priorities_in_the_journal_too(tmp_path: Path) -> None:
    lines = lines_in_the_journal(tmp_path / "journal", "json")
    assert lines[1].startswith('<4>{"process": "mailbox", "worker": "gateway", "pid": 7, "event": "worker exited"')


@pytest.mark.parametrize("stream", ["", "nonsense", "1:2"])
def test_a_redirected_stream_is_not_the_journal(tmp_path: Path, stream: str) -> None:
    with (tmp_path / "file").open("wb") as file:
        assert not is_journal(file.fileno(), {"JOURNAL_STREAM": stream})
    assert not is_journal(9999, {"JOURNAL_STREAM": "1:2"})


def test_every_line_of_a_text_gets_the_priority() -> None:
    assert prefixed("a\nb", "warning") == "<4>a\n<4>b"
    assert prefixed("", "info") == "<6>"
    assert prefixed("a\u2028b\x0bc\x85d\r", "info") == "<6>a\u2028b\x0bc\x85d\r"


# Line separators of Python and Unicode, a terminal escape, a direction override, a zero-width space, a lone surrogate.
HOSTILE = "x\n<0>supervisor: granted\r\v\f\x1c\x85\u2028\u2029\x1b[2J\u202e\u200b\udcff"
HOSTILE_PROGRAM = """
from mailroomd.observability.log import configure_log, log, print_error
configure_log("mailbox", "info", {form!r})
log.warning("ignoring file " + {text!r}, path={text!r}, names=[{text!r}])
try:
    raise ValueError({text!r})
except ValueError:
    log.exception("worker failed")
print_error("cannot read " + {text!r})
"""


@pytest.mark.parametrize("form", ["auto", "console", "json"])
@pytest.mark.parametrize("is_journal_stream", [True, False])
def test_hostile_text_cannot_look_like_an_entry_of_its_own(tmp_path: Path, form: str, is_journal_stream: bool) -> None:
    path = tmp_path / "log"
    with path.open("wb") as err:
        status = os.fstat(err.fileno())
        stream = f"{status.st_dev}:{status.st_ino if is_journal_stream else 0}"
        environment = os.environ | {"JOURNAL_STREAM": stream, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        program = HOSTILE_PROGRAM.format(form=form, text=HOSTILE)
        subprocess.run([sys.executable, "-c", program], env=environment, stderr=err, check=True)
    text = path.read_text()
    assert all(line.isprintable() for line in text.split("\n"))
    lines = text.splitlines()
    assert "ignoring file x" in lines[0]
    assert "cannot read x" in lines[-1]
    assert not any(line.lstrip("<0123456789>").startswith("supervisor: granted") for line in lines)


WITHOUT_DESCRIPTORS = """
import os, resource
from mailroomd.observability.log import configure_log, log
configure_log("gateway", "info", "json")
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 10_000))
log.error("no file descriptor left", call="CheckInbox")
resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 10_000))
log.info("recovered")
"""


def test_a_process_without_descriptors_still_logs() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DESCRIPTORS], env=environment, capture_output=True, text=True, check=True
    )
    plain, recovered = map(json.loads, done.stderr.splitlines())
    assert (plain["process"], plain["event"], plain["call"]) == ("gateway", "no file descriptor left", "CheckInbox")
    assert "Too many open files" in plain["without_structlog"]
    assert plain["timestamp"][:13] == recovered["timestamp"][:13]
    assert plain["timestamp"].endswith("Z")
    assert recovered["event"] == "recovered"
    assert "without_structlog" not in recovered


WITHOUT_MEMORY = """
import os, resource, sys
from mailroomd.observability.log import configure_log, log
configure_log("gateway", "info", "json")
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + int(sys.argv[1])
unlimited = resource.getrlimit(resource.RLIMIT_AS)[1]
for number in range(200):
    resource.setrlimit(resource.RLIMIT_AS, (room, unlimited))
    log.error("no memory left", number=number)
    resource.setrlimit(resource.RLIMIT_AS, (unlimited, unlimited))
log.info("recovered")
"""


@pytest.mark.parametrize("room_kib", range(0, 4096, 256))
def test_a_process_without_memory_may_lose_lines_but_goes_on(room_kib: int) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY, str(room_kib << 10)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    *_, recovered = map(json.loads, done.stderr.splitlines())
    assert recovered["event"] == "recovered"
