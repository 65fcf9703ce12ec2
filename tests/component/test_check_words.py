"""scripts/check-words finds what it should, on the right line, and leaves plain English alone."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check-words"


def check(path: Path, text: str) -> subprocess.CompletedProcess[str]:
    path.write_text(text)
    return subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "text", "line", "word"),
    [
        ("page.md", "Mailroom.\n\nThis mail\nroom is old.\n", 3, "mail room"),
        ("page.md", "What is refused here has no record.\n", 1, "What is refused"),
        ("names.py", "x = 1\n\n\ndef check_leash() -> None: ...\n", 4, "leash"),
        ("names.py", '"""A module.\n\nTwo files, one of\nwhich is new.\n"""\n', 3, "of which"),
        ("names.py", 'x = (\n    "told to who"\n    "ever",\n    "kept for "\n    "ever",\n)\n', 4, "for "),
        ("names.py", "# it is kept for\n# ever\n", 1, "for # ever"),
        ("tool.sh", "# Whoever calls this\n", 1, "Whoever"),
        ("names.py", "class SeatMap: ...\n", 1, "Seat"),
        ("names.py", '"""The colours of the log."""\n', 1, "colours"),
        ("names.py", '"""It is recognised."""\n', 1, "recognised"),
        ("page.md", "A file that a filesystem holds.\n", 1, "filesystem"),
        ("board.json", '{"title": "Every client shows a token"}\n', 1, "shows a token"),
        ("steps.yml", "# The mail room\n", 1, "mail room"),
        ("io.c", "/* for ever */\n", 1, "for ever"),
    ],
)
def test_an_old_word_is_found_on_its_line(tmp_path: Path, name: str, text: str, line: int, word: str) -> None:
    done = check(tmp_path / name, text)
    assert done.returncode == 1
    assert f"{name}:{line}: " in done.stdout
    assert word in done.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.md", "What is refused here?\n\n| what | then |\n|---|---|\n\n## What it promises\n"),
        ("page.md", "Sixteen lowercase letters, or letters and digits.\n"),
        ("names.py", 'of, which = 1, 2\nso = many = "of", "which"\n'),
        ("names.py", "letters = 1  # of\nx = 2  # which\n"),
        ("names.py", "filesystem = machine.filesystem\n"),
        ("names.py", '"""Promises, exercises and surprises; cancelled as in gRPC."""\n'),
    ],
)
def test_plain_english_and_code_pass(tmp_path: Path, name: str, text: str) -> None:
    done = check(tmp_path / name, text)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_scripts_of_ci_are_read(tmp_path: Path) -> None:
    script = tmp_path / ".ci" / "run"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n# kept for ever\n")
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, "run:2: 'for ever'" in done.stdout) == (1, True)
