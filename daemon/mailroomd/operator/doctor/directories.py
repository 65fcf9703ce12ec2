"""Directories — do they exist, can the daemon write to them, and can other users not?

The inbox directories of agents are checked too: an unwritable one delays the files of one agent only, which is hard to
notice otherwise.
"""

__all__ = ["check"]

import errno
import os
import stat
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from mailroomd.operator.doctor.below import change_mode, open_below
from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation

MAX_AGENTS = 10_000  # inbox directories to check
OWNER = stat.S_IRWXU
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the root with its subdirectories, the state directory and the directory of the socket."""
    root = installation.root
    yield _check_directory("root directory", root)
    yield _check_directory("inbox directory", root, installation.inbox.name)
    yield from _check_agents(installation)
    yield _check_directory("outbox directory", root, installation.outbox.name)
    yield _check_directory("teams directory", root, installation.teams.name, optional=True)
    yield _check_directory("state directory", installation.state_dir, private=True)
    socket = installation.address.socket_path
    if socket and socket.parent != installation.state_dir:
        yield _check_directory("socket directory", socket.parent, private=True)


def _check_directory(name: str, base: Path, *parts: str, optional: bool = False, private: bool = False) -> Finding:
    """Checks one directory. The daemon creates it unless it is `optional`; no other user may enter a `private` one."""
    path = base.joinpath(*parts)
    try:
        with open_below(base, *parts, flags=os.O_PATH) as directory:
            status = os.fstat(directory)
    except FileNotFoundError:
        if optional:
            return ok(name, "not in use")
        return warning(name, f"{path} does not exist", "start `mailroomd`, which creates it")
    except OSError as error:
        return _not_a_directory(name, path, error)
    return _check_mode(name, base, parts, status, private=private)


def _not_a_directory(name: str, path: Path, error: OSError) -> Finding:
    if path.is_symlink():
        advice = f"replace {path} by a directory; a link to the root directory itself is allowed"
        return problem(name, f"{path} is a symbolic link, which the daemon does not follow", advice)
    if error.errno == errno.ENOTDIR:
        return problem(name, f"{path} is not a directory", "move it away, and start `mailroomd`, which creates one")
    return problem(name, f"cannot access {path}: {error.strerror}", "make its parents accessible: chmod u+x")


def _check_mode(name: str, base: Path, parts: tuple[str, ...], status: os.stat_result, *, private: bool) -> Finding:
    path = base.joinpath(*parts)
    mode, is_ours = stat.S_IMODE(status.st_mode), status.st_uid == os.geteuid()
    change = partial(change_mode, base, parts)
    if not _is_usable(path, mode, is_ours=is_ours):
        fix = partial(change, add=OWNER) if is_ours else None
        owner = "" if is_ours else f", owner uid {status.st_uid}"
        return problem(name, f"{path} is not writable (mode {mode:04o}{owner})", f"chmod u+rwx {path}", fix)
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        fix = partial(change, remove=OTHERS_WRITE) if is_ours else None
        return problem(name, f"every user can write to {path} and so forge messages", f"chmod go-w {path}", fix)
    if private and mode & OTHERS:
        fix = partial(change, remove=OTHERS) if is_ours else None
        return warning(name, f"other users can access {path} (mode {mode:04o})", f"chmod 700 {path}", fix)
    return ok(name, f"{path} is writable")


def _is_usable(path: Path, mode: int, *, is_ours: bool) -> bool:
    if is_ours and mode & OWNER != OWNER:  # root can write regardless, but the daemon need not be root
        return False
    return os.access(path, os.R_OK | os.W_OK | os.X_OK)


def _check_agents(installation: Installation) -> Iterator[Finding]:
    """Reports the agents whose inbox directory is not writable."""
    try:
        with open_below(installation.root, installation.inbox.name) as inbox, os.scandir(inbox) as entries:
            agents = [(entry.name, entry.stat(follow_symlinks=False)) for entry in islice(entries, MAX_AGENTS)]
    except OSError:
        return  # reported for the inbox directory itself
    for agent, status in agents:
        if not agent.startswith(".") and (finding := _check_agent(installation, agent, status)):
            yield finding


def _check_agent(installation: Installation, agent: str, status: os.stat_result) -> Finding | None:
    name, path = f"inbox of {agent}", installation.inbox / agent
    if not stat.S_ISDIR(status.st_mode):
        return problem(name, f"{path} is not a directory, so no message can be filed there", "move it away")
    mode, is_ours = stat.S_IMODE(status.st_mode), status.st_uid == os.geteuid()
    if _is_usable(path, mode, is_ours=is_ours):
        return None
    fix = partial(change_mode, installation.root, (installation.inbox.name, agent), add=OWNER) if is_ours else None
    return problem(name, f"{path} is not writable (mode {mode:04o})", f"chmod u+rwx {path}", fix)
