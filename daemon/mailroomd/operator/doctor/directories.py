"""Directories — do they exist, can the daemon write to them, and can other users not?

The inbox directories of agents are checked too: an unwritable one delays the files of one agent only, which is hard to
notice otherwise. Whether other users could replace the files of the daemon is judged by the daemon's own rules
(`supervisor.directory_owner`).
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
from mailroomd.operator.doctor.finding import Finding, Level, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.supervisor.directory_owner import DirectoryUnsafe, check_directory

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
    yield from _check_own("state directory", installation, installation.state_dir, may_be_sticky=False)
    socket = installation.address.socket_path
    if socket and socket.parent != installation.state_dir:
        yield from _check_own("socket directory", installation, socket.parent, may_be_sticky=True)


def _check_own(name: str, installation: Installation, path: Path, *, may_be_sticky: bool) -> Iterator[Finding]:
    """Checks a directory that `mailroomd` refuses at its start if others could replace its files."""
    finding = _check_directory(name, path, private=not (may_be_sticky and _is_sticky(path)))
    if finding.level is Level.PROBLEM or not path.exists():
        yield finding
        return
    try:
        check_directory(path, may_be_sticky=may_be_sticky, uid=_daemon_uid(installation))
    except DirectoryUnsafe as unsafe:
        advice = unsafe.remedy or "give it to the daemon's user (chown), or choose another directory"
        if finding.level is not Level.OK:
            yield finding
        yield problem(name, f"`mailroomd` refuses to start (exit code 73): {unsafe.cause}", advice)
    else:
        yield finding


def _is_sticky(path: Path) -> bool:
    """Returns whether it is a directory such as /tmp, which is meant for everybody."""
    try:
        return bool(path.stat().st_mode & stat.S_ISVTX)
    except OSError:
        return False


def _daemon_uid(installation: Installation) -> int | None:
    """Returns the user of the daemon, which has the state directory; for root only. None: this user."""
    try:
        return installation.state_dir.stat().st_uid if os.geteuid() == 0 else None
    except OSError:
        return None


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
