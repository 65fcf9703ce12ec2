"""Room — is there enough of it on the disks that the mail room writes to: bytes, inodes, and leave to write?"""

__all__ = ["check"]

import os
from collections.abc import Iterator
from pathlib import Path

from mailroomd.operator.doctor.findings import Finding, ok, problem, warning
from mailroomd.operator.places import Places

SCARCE_BYTES, FULL_BYTES = 1 << 30, 64 << 20  # a day of busy mail; what the daemon's reserve needs
SCARCE_INODES, FULL_INODES = 50_000, 1_000  # one for each unread message


def check(places: Places) -> Iterator[Finding]:
    """Looks at the filesystems of root and state directory."""
    for name, path in {"disk of the root": places.root, "disk of the state": places.state_dir}.items():
        there = _nearest(path)
        try:
            yield _judge(name, there, os.statvfs(there))
        except OSError as error:
            yield problem(name, f"{there} cannot be asked: {error.strerror}", "check its mode and its mount")


def _nearest(path: Path) -> Path:
    """Returns the path itself, or the first of its parents that is there."""
    return next((one for one in (path, *path.parents) if one.exists()), Path("/"))


def _judge(name: str, path: Path, found: os.statvfs_result) -> Finding:
    free_bytes, free_inodes = found.f_bavail * found.f_frsize, found.f_favail
    has_inodes = found.f_files > 0  # some filesystems make them as they go
    room = f"{free_bytes / 1e9:,.1f} GB" + (f" and {free_inodes:,} inodes" if has_inodes else "")
    if found.f_flag & os.ST_RDONLY:
        return problem(name, f"{path} is mounted read-only", "look for the reason (dmesg), and remount it")
    if free_bytes < FULL_BYTES or (has_inodes and free_inodes < FULL_INODES):
        return problem(name, f"{path} is full: {room} left", "make room: until then no mail is taken or filed")
    if free_bytes < SCARCE_BYTES or (has_inodes and free_inodes < SCARCE_INODES):
        return warning(name, f"{path} has only {room} left", "make room before it is full")
    return ok(name, f"{path} has {room} left")
