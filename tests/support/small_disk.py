"""SmallDisk — a real filesystem that is soon full: ext4 in a file, mounted by a loop device.

Needs root and a kernel that lets it mount; `small_disk` says by Unmountable why not, so that a test is skipped with a
reason. Nothing of it is left after the context.
"""

__all__ = ["SmallDisk", "Unmountable", "small_disk"]

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.waiting import wait_until

DISK_BYTES = 32 << 20  # room for the daemon's reserve twice over, and soon filled
COMMAND_SEC = 20.0


class Unmountable(Exception):  # noqa: N818 - a circumstance
    """This machine mounts no filesystem for us; the text says why."""


@dataclass(frozen=True)
class SmallDisk:
    """A mounted filesystem."""

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Takes all the room that is left, to the last block."""
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (1 << 20, 4096, 1):
                self._write_until_full(handle, bytes(size))
            os.fsync(handle)
        finally:
            os.close(handle)

    def make_room(self) -> None:
        """Gives the room back."""
        self._ballast.unlink()

    def _write_until_full(self, handle: int, block: bytes) -> None:
        for _ in range(DISK_BYTES // 4096):
            try:
                if os.write(handle, block) < len(block):
                    return
            except OSError:
                return


@contextmanager
def small_disk(path: Path) -> Generator[SmallDisk]:
    """Mounts an empty small disk on a directory that is made for it.

    Raises:
        Unmountable: it can't be done here.
    """
    image = path.with_name(f"{path.name}.image")
    path.mkdir()
    image.touch()
    os.truncate(image, DISK_BYTES)
    _run("mkfs.ext4", "-q", "-m", "0", str(image))
    _run("mount", "-o", "loop", str(image), str(path))
    try:
        yield SmallDisk(path)
    finally:
        wait_until(lambda: _unmounted(path), f"{path} can be unmounted")  # the last process may be going just now
        image.unlink()


def _unmounted(path: Path) -> bool:
    try:
        _run("umount", str(path))
    except Unmountable as error:
        if "busy" in str(error):
            return False
        raise
    return True


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SEC, check=False)
    except OSError as error:
        raise Unmountable(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise Unmountable(f"{' '.join(command)} failed: {done.stderr.strip()}")
