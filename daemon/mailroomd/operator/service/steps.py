"""steps — the actions of an installation as data, so that `--dry-run` shows exactly what would be done.

A step writes a file, removes a file or runs a command.
"""

__all__ = ["RemoveFile", "RunCommand", "Step", "WriteFile", "apply_steps"]

import os
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mailroom.errors import MailroomError


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Writes a file, and creates its directory if necessary."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"write {self.path}"

    def apply(self) -> None:
        """Writes the file atomically: readers see the old text or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(self.text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Removes a file, which may be missing."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"

    def apply(self) -> None:
        """Removes the file."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Runs a command that must succeed; `hint` completes the error message."""

    words: tuple[str, ...]
    hint: str = ""

    def __str__(self) -> str:
        return f"run {shlex.join(self.words)}"

    def apply(self) -> None:
        """Runs the command.

        Raises:
            MailroomError: the command failed; the message has the first line of its error output.
        """
        result = subprocess.run(self.words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
        if result.returncode:
            lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
            raise MailroomError(f"{shlex.join(self.words)} failed: {lines[0]}{self.hint and f' ({self.hint})'}")


Step = WriteFile | RemoveFile | RunCommand
"""One action."""


def apply_steps(steps: Iterable[Step]) -> None:
    """Applies the steps in order; stops at the first failure.

    Raises:
        MailroomError: a command failed.
        OSError: a file cannot be written or removed.
    """
    for step in steps:
        step.apply()
