"""scripts/check-limits finds what is too long, on its line, and lets tests be longer."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check-limits"


def check(directory: Path, name: str, source: str) -> subprocess.CompletedProcess[str]:
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    return subprocess.run([sys.executable, SCRIPT, name], cwd=directory, capture_output=True, text=True, check=False)


def function_of(lines: int) -> str:
    return "def work():\n" + "    pass\n" * (lines - 1)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1\n" * 401, "m.py:1: the module has 401 lines"),
        ("\n" + function_of(41), "m.py:2: work has 41 lines"),
        (f"async def test_{'x' * 76}(): ...\n", "has 81 characters"),
    ],
)
def test_what_is_too_long_is_named_with_its_line(tmp_path: Path, source: str, problem: str) -> None:
    done = check(tmp_path, "m.py", source)
    assert done.returncode == 1
    assert problem in done.stdout


@pytest.mark.parametrize("source", ["x = 1\n" * 400, function_of(40), f"def test_{'x' * 75}(): ...\n"])
def test_what_is_within_the_limits_passes(tmp_path: Path, source: str) -> None:
    done = check(tmp_path, "m.py", source)
    assert (done.returncode, done.stdout) == (0, "")


def test_tests_may_be_longer(tmp_path: Path) -> None:
    done = check(tmp_path, "tests/test_m.py", function_of(500))
    assert (done.returncode, done.stdout) == (0, "")
