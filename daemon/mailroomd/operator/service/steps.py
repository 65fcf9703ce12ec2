"""steps — what installing and uninstalling do, as data: so that `--dry-run` shows exactly what would be done.

A step is a file to write, a file to remove or a command to run. Nothing here knows what they are for.
"""

__all__ = ["RemoveFile", "RunCommand", "Step", "WriteFile", "carry_out"]

import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mailroom.errors import MailroomError


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file that gets this text, in directories that are made if they are missing."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"write {self.path}"

    def carry_out(self) -> None:
        """Writes it; a reader sees the old file or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.new")
        temporary.write_text(self.text, encoding="utf-8")
        temporary.replace(self.path)


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """A file that has to go; it may be gone already."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"

    def carry_out(self) -> None:
        """Removes it."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RunCommand:
    """A command that has to succeed; when it doesn't, `hint` says what to do."""

    words: tuple[str, ...]
    hint: str = ""

    def __str__(self) -> str:
        return f"run {shlex.join(self.words)}"

    def carry_out(self) -> None:
        """Runs it.

        Raises:
            MailroomError: it failed, with its last line.
        """
        done = subprocess.run(self.words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise MailroomError(f"{shlex.join(self.words)} failed: {said[0]}{self.hint and f' ({self.hint})'}")


Step = WriteFile | RemoveFile | RunCommand
"""One thing to do."""


def carry_out(steps: Iterable[Step]) -> None:
    """Does one after the other; ends at the first that fails.

    Raises:
        MailroomError: a command failed.
        OSError: a file cannot be written or removed.
    """
    for step in steps:
        step.carry_out()
