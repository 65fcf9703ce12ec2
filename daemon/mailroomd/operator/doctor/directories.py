"""Directories — do they exist, can the daemon write to them, and can other users not?

The inbox directories of agents are checked too: an unwritable one delays the files of one agent only, which is hard to
notice otherwise.
"""

__all__ = ["check"]

import os
import stat
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation

MAX_AGENTS = 10_000  # inbox directories to check
OWNER = stat.S_IRWXU
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the root with its subdirectories, the state directory and the directory of the socket."""
    yield _check_directory("root directory", installation.root)
    yield _check_directory("inbox directory", installation.inbox)
    yield from _check_agents(installation.inbox)
    yield _check_directory("outbox directory", installation.outbox)
    yield _check_directory("teams directory", installation.teams, optional=True)
    yield _check_directory("state directory", installation.state_dir, private=True)
    socket = installation.address.socket_path
    if socket and socket.parent != installation.state_dir:
        yield _check_directory("socket directory", socket.parent, private=True)


def _check_directory(name: str, path: Path, *, optional: bool = False, private: bool = False) -> Finding:
    """Checks one directory. The daemon creates it unless it is `optional`; no other user may enter a `private` one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        if optional:
            return ok(name, "not in use")
        return warning(name, f"{path} does not exist", "start `mailroomd`, which creates it")
    except OSError as error:
        return problem(name, f"cannot access {path}: {error.strerror}", "make its parents accessible: chmod u+x")
    return _check_mode(name, path, status, private=private)


def _check_mode(name: str, path: Path, status: os.stat_result, *, private: bool) -> Finding:
    mode, is_ours = stat.S_IMODE(status.st_mode), status.st_uid == os.geteuid()
    if not stat.S_ISDIR(status.st_mode):
        return problem(name, f"{path} is not a directory", "move it away, and start `mailroomd`, which creates one")
    if not _is_usable(path, mode, is_ours=is_ours):
        fix = partial(path.chmod, mode | OWNER) if is_ours else None
        owner = "" if is_ours else f", owner uid {status.st_uid}"
        return problem(name, f"{path} is not writable (mode {mode:04o}{owner})", f"chmod u+rwx {path}", fix)
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        fix = partial(path.chmod, mode & ~OTHERS_WRITE) if is_ours else None
        return problem(name, f"every user can write to {path} and so forge messages", f"chmod go-w {path}", fix)
    if private and mode & (stat.S_IRWXG | stat.S_IRWXO):
        fix = partial(path.chmod, OWNER) if is_ours else None
        return warning(name, f"other users can access {path} (mode {mode:04o})", f"chmod 700 {path}", fix)
    return ok(name, f"{path} is writable")


def _is_usable(path: Path, mode: int, *, is_ours: bool) -> bool:
    if is_ours and mode & OWNER != OWNER:  # root can write regardless, but the daemon need not be root
        return False
    return os.access(path, os.R_OK | os.W_OK | os.X_OK)


def _check_agents(inbox: Path) -> Iterator[Finding]:
    """Reports the agents whose inbox directory is not writable."""
    try:
        with os.scandir(inbox) as entries:
            for entry in islice(entries, MAX_AGENTS):
                finding = _check_agent(Path(entry.path), entry)
                if finding:
                    yield finding
    except OSError:
        return  # reported for the inbox directory itself


def _check_agent(path: Path, entry: "os.DirEntry[str]") -> Finding | None:
    name = f"inbox of {entry.name}"
    if entry.name.startswith("."):
        return None
    if entry.is_symlink() or not entry.is_dir(follow_symlinks=False):
        return problem(name, f"{path} is not a directory, so no message can be filed there", "move it away")
    status = entry.stat(follow_symlinks=False)
    mode, is_ours = stat.S_IMODE(status.st_mode), status.st_uid == os.geteuid()
    if _is_usable(path, mode, is_ours=is_ours):
        return None
    fix = partial(path.chmod, mode | OWNER) if is_ours else None
    return problem(name, f"{path} is not writable (mode {mode:04o})", f"chmod u+rwx {path}", fix)
