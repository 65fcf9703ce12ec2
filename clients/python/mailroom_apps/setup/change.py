"""Change — one settings file before and after: shown as a diff, then written in one step.

Links are followed, so that a link to a file elsewhere stays a link. The file's mode and line ends are kept. A file that
another program changed in the meantime is not overwritten (Claude Code rewrites its own at any time).
"""

__all__ = ["Change", "SetupError", "read_text"]

import difflib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PRIVATE_FILE = 0o600  # of a new file: settings may come to hold tokens
PRIVATE_DIRECTORY = 0o700


class SetupError(Exception):
    """A settings file cannot be changed; it is unchanged."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one file.

    Attributes:
        path: the file.
        before: its content; None: it does not exist.
        after: its new content; None: it is removed.
    """

    path: Path
    before: str | None
    after: str | None

    @property
    def is_needed(self) -> bool:
        """Whether anything changes."""
        return self.before != self.after

    def diff(self) -> str:
        """Returns the change as a unified diff."""
        lines = difflib.unified_diff(
            (self.before or "").splitlines(),
            (self.after or "").splitlines(),
            "/dev/null" if self.before is None else str(self.path),
            "/dev/null" if self.after is None else str(self.path),
            lineterm="",
        )
        return "\n".join(lines)

    def write(self) -> None:
        """Makes the change, completely or not at all.

        Raises:
            SetupError: another program changed the file, or it cannot be written.
        """
        target = Path(os.path.realpath(self.path))
        try:
            target.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            if read_text(target) != self.before:
                raise SetupError(f"{self.path} was not changed, because another program has just changed it: try again")
            if self.after is None:
                target.unlink()
            else:
                _replace(target, self.after.encode())
        except OSError as error:
            raise SetupError(f"{self.path} was not changed: it cannot be written ({error.strerror})") from error


def read_text(path: Path) -> str | None:
    """Returns a file's text with its own line ends; None if there is no file.

    Raises:
        SetupError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise SetupError(f"{path} was not changed: it is not UTF-8") from error
    except OSError as error:
        raise SetupError(f"{path} was not changed: it cannot be read ({error.strerror})") from error


def _replace(target: Path, content: bytes) -> None:
    mode = target.stat().st_mode & 0o7777 if target.exists() else PRIVATE_FILE
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
