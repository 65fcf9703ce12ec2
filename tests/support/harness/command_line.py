"""Runs the command line for tests, in a process of its own or, faster, in the process of the test."""

__all__ = ["BOUND_SEC", "Done", "cli", "command", "environment", "home", "lines_of", "run_here"]

import atexit
import functools
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mailroom
import orjson
import pytest
from mailroom_apps.cli.app import run
from support.harness.waiting import BOUND_SEC


@functools.cache
def home() -> str:
    """Returns a home without any settings: the machine has its own, which is never read."""
    directory = tempfile.mkdtemp(prefix="mrt-home-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def environment(address: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the environment of a user without any configuration of Mailroom."""
    path = str(Path(mailroom.__path__[0]).parent)
    base = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    return {
        **base,
        "PYTHONPATH": path,
        "HOME": home(),
        "MAILROOM_ADDRESS": address,
        "LOGNAME": "ana b",
        "TERM": "dumb",
        **(extra or {}),
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mailroom_apps", *arguments]


def cli(
    address: str, *arguments: str, stdin: bytes = b"", extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs one command in a process of its own."""
    env = environment(address, extra)
    done = subprocess.run(
        command(*arguments), env=env, input=stdin, capture_output=True, timeout=BOUND_SEC, check=False
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


def lines_of(output: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in output.splitlines()]


@dataclass(frozen=True)
class Done:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The rows of a table without its header; columns are separated by two or more spaces."""
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.out.splitlines()[1:]]

    @property
    def json(self) -> list[dict[str, Any]]:
        return lines_of(self.out.encode())


def run_here(address: str, *arguments: str, stdin: str = "", extra: Mapping[str, str] | None = None) -> Done:
    """Runs one command in this process, which is five times as fast; stdin is not a terminal."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MAILROOM_", "XDG_"))]:
            patch.delenv(name)
        for name, value in {
            "HOME": home(),
            "MAILROOM_ADDRESS": address,
            "LOGNAME": "ana b",
            **(extra or {}),
        }.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["mailroom", *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        code = run()
    return Done(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]
