"""Completion in a real zsh on a pseudo-terminal: the content of a message is never evaluated."""

import os
import shlex
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from support.fakes.scenes import InThread, in_thread
from support.harness.command_line import BOUND_SEC, environment

pytestmark = pytest.mark.system

PROMPT = "ready> \x1b[?2004h"  # with the switch to bracketed paste, which the echo of a command does not have
HOSTILE = ["\\$(touch owned)", "\\'$(touch owned)", "`touch owned`", "'; touch owned; '", "[/x]", '"$(touch owned)"']


@pytest.fixture
def fake(tmp_path: Path) -> Generator[InThread, None, None]:
    with in_thread(tmp_path) as daemon:
        yield daemon


def read_until(handle: int, *texts: str) -> str:
    """Returns what the terminal showed until every text was there; the test's own time limit applies."""
    shown = ""
    while not all(text in shown for text in texts):
        shown += os.read(handle, 65536).decode(errors="replace")
    return shown


@pytest.mark.parametrize("command", ["mailroom show ", "mailroom reply ", "mailroom ack bob "])
def test_tab_offers_ids_and_runs_nothing(fake: InThread, tmp_path: Path, command: str) -> None:
    ids = fake.do(lambda daemon: [daemon.deliver("bob", text) for text in HOSTILE])
    home = tmp_path / "home"
    home.mkdir()
    script = subprocess.run(
        [sys.executable, "-m", "mailroom_apps"],
        env=environment(fake.address, {"_MAILROOM_COMPLETE": "source_zsh"}),
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    ).stdout
    (home / "mailroom.zsh").write_text(script)
    (home / "bin").mkdir()
    program = home / "bin" / "mailroom"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mailroom_apps "$@"\n')
    program.chmod(0o755)
    extra = {"HOME": str(home), "ZDOTDIR": str(home), "TERM": "dumb", "PATH": f"{home}/bin:{os.environ['PATH']}"}
    ours, theirs = os.openpty()
    with subprocess.Popen(
        ["zsh", "-f", "-i"],
        cwd=home,
        env=environment(fake.address, extra),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            os.write(ours, b"PROMPT='ready> '; autoload -Uz compinit; compinit -u -D; source ./mailroom.zsh\n")
            read_until(ours, PROMPT)
            os.write(ours, command.encode() + b"0\t\t")
            shown = read_until(ours, *ids)
            assert "MarkupError" not in shown
        finally:
            process.kill()
            os.close(ours)
    assert not (home / "owned").exists()
