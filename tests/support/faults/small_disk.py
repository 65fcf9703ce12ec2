"""SmallDisk — a real file system of our own: ext4 in a file, mounted by a loop device, to be filled, cut off or broken.

Needs root and a kernel that lets it mount; otherwise `small_disk` fails the test and says why. A power cut is staged as
the kernel's own tests do it: the file system is shut down, and mounted anew (facts.md). Each mount gets another device
number, as disks may after a restart of the machine. Nothing is left after the context.
"""

__all__ = ["SmallDisk", "Unmountable", "place_on", "small_disk"]

import fcntl
import os
import struct
import subprocess
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.harness.daemon import Daemon
from support.harness.waiting import wait_until

DISK_BYTES = 32 << 20  # room for the daemon's reserve twice over, and soon filled
DECOY_BYTES = 1 << 20
COMMAND_SEC = 20.0
# linux/fs/ext4/ext4.h
_SHUTDOWN = 0x8004587D
_JOURNAL_FLUSHED, _JOURNAL_LOST = 1, 2


class Unmountable(Exception):  # noqa: N818 - a circumstance
    """A file system could not be made, mounted or unmounted; the text says why."""


@dataclass
class SmallDisk:
    """A mounted file system."""

    path: Path
    _decoy: str = field(default="", repr=False)

    @property
    def _image(self) -> Path:
        return self.path.with_name(f"{self.path.name}.image")

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Takes all the room that is left, to the last block."""
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            room = os.statvfs(self.path)
            with suppress(OSError):
                os.posix_fallocate(handle, 0, room.f_bavail * room.f_frsize * 9 // 10)  # quick, on a large disk
            os.lseek(handle, 0, os.SEEK_END)
            for size in (1 << 20, 4096, 1):
                self._write_until_full(handle, bytes(size))
            os.fsync(handle)
        finally:
            os.close(handle)

    def make_room(self) -> None:
        """Gives the room back."""
        self._ballast.unlink()

    def cut_power(self, *, journal_flushed: bool) -> None:
        """Ends all writing at this moment; what was not synced is gone.

        Args:
            journal_flushed: whether the file system's own journal still reaches the disk.
        """
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _JOURNAL_FLUSHED if journal_flushed else _JOURNAL_LOST))
        finally:
            os.close(handle)

    def make_read_only(self) -> None:
        """Refuses all writing; needs that no file is open for it."""
        _run("mount", "-o", "remount,ro", str(self.path))

    def make_writable(self) -> None:
        """Takes `make_read_only` back."""
        _run("mount", "-o", "remount,rw", str(self.path))

    def report_an_error(self) -> None:
        """Makes the kernel find an error in the file system: it goes read-only for every writer, until `remount`."""
        device = _run("findmnt", "-n", "-o", "SOURCE", str(self.path)).strip()
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("found by a test\n")

    def remount(self) -> None:
        """Mounts it anew, repairing it as a machine that starts would."""
        wait_until(lambda: _unmounted(self.path), f"{self.path} can be unmounted")
        self._change_device_number()
        self.mount()

    def mount(self) -> None:
        """Mounts the image."""
        _run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.path))

    def unmount(self) -> None:
        """Gives everything back."""
        wait_until(lambda: _unmounted(self.path), f"{self.path} can be unmounted")  # a process may be going just now
        if self._decoy:
            _run("losetup", "-d", self._decoy)
        self._image.unlink()

    def _change_device_number(self) -> None:
        """Takes the number that the next mount would get, or gives it back."""
        if self._decoy:
            _run("losetup", "-d", self._decoy)
            self._decoy = ""
        else:
            image = self.path.with_name(f"{self.path.name}.decoy")
            image.touch()
            os.truncate(image, DECOY_BYTES)
            self._decoy = _run("losetup", "--find", "--show", str(image)).strip()

    def _write_until_full(self, handle: int, block: bytes) -> None:
        for _ in range(DISK_BYTES // 4096):
            try:
                if os.write(handle, block) < len(block):
                    return
            except OSError:
                return


@contextmanager
def small_disk(path: Path, size_bytes: int = DISK_BYTES) -> Generator[SmallDisk]:
    """Mounts an empty small disk on a directory that is made for it; fails the test where that is impossible."""
    image = path.with_name(f"{path.name}.image")
    path.mkdir()
    image.touch()
    os.truncate(image, size_bytes)
    disk = SmallDisk(path)
    try:
        _run("mkfs.ext4", "-q", "-m", "0", str(image))
        disk.mount()
    except Unmountable as error:
        pytest.fail(f"this test needs a disk of its own (run it as root, where loop devices are allowed): {error}")
    try:
        yield disk
    finally:
        disk.unmount()


def place_on(disk: SmallDisk, daemon: Daemon, what: Iterable[str] = ("state", "root")) -> None:
    """Puts a daemon's directories on a disk, by links, before its first start."""
    for name, path in (("root", daemon.root), ("state", daemon.state_dir)):
        if name in what:
            (disk.path / name).mkdir(mode=0o700)
            path.symlink_to(disk.path / name)


def _unmounted(path: Path) -> bool:
    try:
        _run("umount", str(path))
    except Unmountable as error:
        if "busy" in str(error):
            return False
        raise
    return True


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SEC, check=False)
    except OSError as error:
        raise Unmountable(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise Unmountable(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
