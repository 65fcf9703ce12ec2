"""Change — one settings file before and after: described, then written in one step.

The description names our own entries only: the lines around them can hold secrets of other programs, and an agent that
runs `mailroom setup` would take them into its transcript.
Links are followed, so that a link to a file elsewhere stays a link. A file's mode, owner, access control list and line
ends are kept. A file that another program changed in the meantime is not overwritten (Claude Code rewrites its own at
any time).
"""

__all__ = ["Change", "Entries", "SetupError", "read_text"]

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PRIVATE_FILE = 0o600  # of a new file: settings may come to hold tokens
PRIVATE_DIRECTORY = 0o700
SETTINGS_DIRECTORIES = frozenset((".claude", ".codex", ".gemini", ".qwen", ".opencode", "policies", "plugins"))


Entries = Sequence[tuple[str, object]]  # path in the file, e.g. "hooks.Stop", and JSON-ready value


class SetupError(Exception):
    """A settings file cannot be changed; it is unchanged."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one file.

    Attributes:
        path: the file.
        before: its content; None: it does not exist.
        after: its new content; None: it is removed.
        old_entries: our entries in `before`, with the path of each.
        new_entries: our entries in `after`.
        made_below: the directories between this one and the file are ours, and go when they are empty.
    """

    path: Path
    before: str | None
    after: str | None
    old_entries: Entries = ()
    new_entries: Entries = ()
    made_below: Path | None = None

    @property
    def is_needed(self) -> bool:
        """Whether anything changes."""
        return self.before != self.after

    @property
    def real_path(self) -> Path:
        """The file behind all links."""
        return Path(os.path.realpath(self.path))

    def describe(self) -> str:
        """Returns the change of our entries: `-` and the path of each old one, `+` and the text of each new one."""
        arrow = "" if self.real_path == self.path.absolute() else f" -> {self.real_path}"
        remark = " (new file)" if self.before is None else " (the file is removed)" if self.after is None else ""
        lines = [f"{self.path}{arrow}{remark}"]
        lines += [f"- {path}" for path, value in self.old_entries if (path, value) not in self.new_entries]
        for path, value in self.new_entries:
            if (path, value) not in self.old_entries:
                text = f"{path} = {json.dumps(value, ensure_ascii=False, indent=2)}"
                lines += [f"+ {line}" for line in text.splitlines()]
        return "\n".join(lines)

    def write(self) -> None:
        """Makes the change, completely or not at all.

        Raises:
            SetupError: another program changed the file, or it cannot be written.
        """
        target = self.real_path
        try:
            target.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            if read_text(target) != self.before:
                raise SetupError(f"{self.path} was not changed, because another program has just changed it: try again")
            if self.after is None:
                target.unlink()
                self._remove_empty(target.parent)
            else:
                _replace(target, self.after.encode())
        except OSError as error:
            raise SetupError(f"{self.path} was not changed: it cannot be written ({error.strerror})") from error

    def _remove_empty(self, directory: Path) -> None:
        """Removes the directories of settings, and our own, that are empty now."""
        with suppress(OSError):
            while directory.name in SETTINGS_DIRECTORIES or self._is_ours(directory):
                directory.rmdir()
                directory = directory.parent

    def _is_ours(self, directory: Path) -> bool:
        return self.made_below is not None and self.made_below in directory.parents


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
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if target.exists():
                _copy_access(target, descriptor)
            else:
                os.fchmod(descriptor, PRIVATE_FILE)
            os.fsync(descriptor)
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _copy_access(target: Path, descriptor: int) -> None:
    """Gives a new file the owner, the mode and the extended attributes (access control list) of the one it replaces.

    Raises:
        OSError: the owner is another user, and this process may not give files away.
    """
    status = target.stat()
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, status.st_mode & 0o7777)
    for name in os.listxattr(target):
        with suppress(OSError):  # some attributes belong to the kernel
            os.setxattr(descriptor, name, os.getxattr(target, name))
