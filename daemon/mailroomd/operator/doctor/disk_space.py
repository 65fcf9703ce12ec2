"""Disk space — do the file systems of the daemon have enough bytes and inodes, and are they writable?"""

__all__ = ["check"]

import os
from collections.abc import Iterator
from pathlib import Path

from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation

LOW_BYTES, FULL_BYTES = 1 << 30, 64 << 20  # a day of heavy traffic; the size of the daemon's reserve
LOW_INODES, FULL_INODES = 50_000, 1_000  # one for each unread message


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the file systems of the root and of the state directory."""
    for name, path in {"disk of the root": installation.root, "disk of the state": installation.state_dir}.items():
        existing = _nearest_existing(path)
        try:
            yield _check_filesystem(name, existing, os.statvfs(existing))
        except OSError as error:
            yield problem(name, f"cannot examine {existing}: {error.strerror}", "check its mode and its mount")


def _nearest_existing(path: Path) -> Path:
    """Returns the path or its nearest parent that exists."""
    return next((candidate for candidate in (path, *path.parents) if candidate.exists()), Path("/"))


def _check_filesystem(name: str, path: Path, status: os.statvfs_result) -> Finding:
    free_bytes, free_inodes = status.f_bavail * status.f_frsize, status.f_favail
    has_inodes = status.f_files > 0  # some file systems create inodes on demand
    free = f"{free_bytes / 1e9:,.1f} GB" + (f" and {free_inodes:,} inodes" if has_inodes else "")
    if status.f_flag & os.ST_RDONLY:
        return problem(name, f"{path} is mounted read-only", "find the reason (dmesg), and remount it")
    if free_bytes < FULL_BYTES or (has_inodes and free_inodes < FULL_INODES):
        return problem(name, f"{path} is full: {free} free", "free some space: until then messages are refused")
    if free_bytes < LOW_BYTES or (has_inodes and free_inodes < LOW_INODES):
        return warning(name, f"{path} has only {free} free", "free some space before it is full")
    return ok(name, f"{path} has {free} free")
