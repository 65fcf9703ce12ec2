"""Name case — does the file system of the root take bob and BOB for one name?

Mailboxes are directories, and their names differ by case. Where the file system folds case, two agents share one
directory, and each sees the other's messages. The probe only looks up existing names, so it needs no right to write.
"""

__all__ = ["check"]

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from mailroomd.operator.doctor.below import open_below
from mailroomd.operator.doctor.finding import Finding, ok, problem
from mailroomd.operator.installation import Installation

MAX_ENTRIES = 1000  # among which one directory has a letter in its name


def check(installation: Installation) -> Iterator[Finding]:
    """Looks up directories of the root and of inbox/ by their names with the other case."""
    root = installation.root
    results = {path: _folds_case(root, *parts) for path, parts in ((root, ()), (installation.inbox, ("inbox",)))}
    folding = next((path for path, folds in results.items() if folds), None)
    if folding is not None:
        advice = "choose a --root on a case-sensitive file system (ext4, XFS, Btrfs without folding)"
        summary = f"{folding} is case-insensitive: agents such as bob and BOB share one inbox"
        yield problem("name case", summary, advice)
    elif False in results.values():
        yield ok("name case", f"{root} is case-sensitive")


def _folds_case(base: Path, *parts: str) -> bool | None:
    """Returns whether names in a directory are compared without case; None if nothing in it can tell."""
    try:
        with open_below(base, *parts) as directory:
            with os.scandir(directory) as entries:
                found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in islice(entries, MAX_ENTRIES)}
            for name, is_directory in found.items():
                other = name.swapcase()
                if is_directory and other != name and other not in found:
                    return _is_same(directory, name, other)
    except OSError:
        pass
    return None


def _is_same(directory: int, name: str, other: str) -> bool:
    try:
        status = os.stat(other, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.stat(name, dir_fd=directory, follow_symlinks=False))
