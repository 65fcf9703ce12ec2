"""Directories — are they there, are they ours, can they be written, and can nobody else write them?

Inbox directories of single agents are looked at as well, since one that cannot be written holds up one agent's files
only, which is hard to see otherwise.
"""

__all__ = ["check"]

import os
import stat
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from mailroomd.operator.doctor.findings import Finding, ok, problem, warning
from mailroomd.operator.places import Places

MAX_AGENTS = 10_000  # inbox directories that are looked at
OWNER = stat.S_IRWXU
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check(places: Places) -> Iterator[Finding]:
    """Looks at root, inbox, outbox, teams, the state directory and the socket's."""
    yield from _look("root directory", places.root, makes=True)
    yield from _look("inbox directory", places.inbox, makes=True)
    yield from _agents(places.inbox)
    yield from _look("outbox directory", places.outbox, makes=True)
    yield from _look("teams directory", places.teams, makes=False)
    yield from _look("state directory", places.state_dir, makes=True, private=True)
    socket = places.address.socket_path
    if socket and socket.parent != places.state_dir:
        yield from _look("socket directory", socket.parent, makes=True, private=True)


def _look(name: str, path: Path, *, makes: bool, private: bool = False) -> Iterator[Finding]:
    """Looks at one directory; `makes`: the daemon makes it, `private`: nobody else has anything to do there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        if makes:
            yield warning(name, f"{path} is not there yet", "start `mailroomd`, which makes it")
        else:
            yield ok(name, f"{path} is not there, so nobody needs it")
        return
    except OSError as error:
        yield problem(name, f"{path} cannot be looked at: {error.strerror}", "make its parents accessible: chmod u+x")
        return
    yield _judge(name, path, found, private=private)


def _judge(name: str, path: Path, found: os.stat_result, *, private: bool) -> Finding:
    mode, is_ours = stat.S_IMODE(found.st_mode), found.st_uid == os.geteuid()
    if not stat.S_ISDIR(found.st_mode):
        return problem(name, f"{path} is no directory", "move it away, and start `mailroomd`, which makes one")
    if not _is_usable(path, mode, is_ours=is_ours):
        fix = partial(path.chmod, mode | OWNER) if is_ours else None
        whose = "" if is_ours else f" (it belongs to uid {found.st_uid})"
        return problem(name, f"{path} cannot be written, its mode is {mode:04o}{whose}", f"chmod u+rwx {path}", fix)
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        fix = partial(path.chmod, mode & ~OTHERS_WRITE) if is_ours else None
        return problem(name, f"everybody can write to {path}, and so forge mail", f"chmod go-w {path}", fix)
    if private and mode & (stat.S_IRWXG | stat.S_IRWXO):
        fix = partial(path.chmod, OWNER) if is_ours else None
        return warning(name, f"others can look into {path}, its mode is {mode:04o}", f"chmod 700 {path}", fix)
    return ok(name, f"{path} is there and can be written")


def _is_usable(path: Path, mode: int, *, is_ours: bool) -> bool:
    if is_ours and mode & OWNER != OWNER:  # root could write all the same: the daemon need not be root
        return False
    return os.access(path, os.R_OK | os.W_OK | os.X_OK)


def _agents(inbox: Path) -> Iterator[Finding]:
    """Reports the agents whose files cannot be written."""
    try:
        with os.scandir(inbox) as entries:
            for entry in islice(entries, MAX_AGENTS):
                finding = _look_at_agent(Path(entry.path), entry)
                if finding:
                    yield finding
    except OSError:
        return  # the directory itself was reported


def _look_at_agent(path: Path, entry: "os.DirEntry[str]") -> Finding | None:
    name = f"inbox of {entry.name}"
    if entry.name.startswith("."):
        return None
    if entry.is_symlink() or not entry.is_dir(follow_symlinks=False):
        return problem(name, f"{path} is no directory, so no mail can be filed there", "move it away")
    found = entry.stat(follow_symlinks=False)
    mode, is_ours = stat.S_IMODE(found.st_mode), found.st_uid == os.geteuid()
    if _is_usable(path, mode, is_ours=is_ours):
        return None
    fix = partial(path.chmod, mode | OWNER) if is_ours else None
    return problem(name, f"{path} cannot be written, its mode is {mode:04o}", f"chmod u+rwx {path}", fix)
