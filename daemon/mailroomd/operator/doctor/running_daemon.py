"""Running daemon — does it use the files and directories that this installation describes?

It may write to a database that was deleted or replaced, run on another state directory or root than the tools look at,
or have lost its socket to another daemon. It would answer as if nothing were wrong. The root is also compared with the
directory of Claude Code, whether a daemon is running or not.
"""

__all__ = ["check"]

import os
from collections.abc import Iterator
from pathlib import Path

from mailroom.addresses import ADDRESSES_NAME
from mailroom.state_lock import LOCK_NAME, read_state_lock

from mailroomd.operator.doctor.finding import Finding, problem, warning
from mailroomd.operator.doctor.processes import OpenFile, daemon_pids, listener_pid, open_files, parent_pid
from mailroomd.operator.installation import Installation
from mailroomd.storage.database.connection import DATABASE_NAME
from mailroomd.storage.database.reserve import RESERVE_NAME


def check(installation: Installation) -> Iterator[Finding]:
    """Compares the open files of the daemon with the installation. Reports differences only."""
    holder = read_state_lock(installation.state_dir).pid
    listener = _listening_supervisor(installation)
    if holder and listener and holder != listener:
        yield problem(
            "socket",
            f"mailroomd (pid {listener}) listens on {installation.address.text}, but mailroomd (pid {holder}) has "
            f"{installation.state_dir}",
            "stop one of them, or give each a state directory and an address of its own",
        )
    supervisor = listener or holder
    files = [] if supervisor is None else list(open_files(daemon_pids(supervisor)))
    if not any(file.pid == supervisor and file.path.name == LOCK_NAME for file in files):
        files = []  # none is running, or something else listens there
    yield from _check_state_files(installation, files)
    yield from _check_root(installation, files)


def _listening_supervisor(installation: Installation) -> int | None:
    path = installation.address.socket_path
    try:
        return parent_pid(listener_pid(path)) if path else None
    except OSError:
        return None


def _check_kept_files(installation: Installation) -> Iterator[Finding]:
    """Checks the files that a running daemon needs and does not write again by itself."""
    effects = {
        ADDRESSES_NAME: "clients that know only the state directory do not find the daemon",
        RESERVE_NAME: "no space is kept for acknowledging mail while the disk is full",
    }
    for name, effect in effects.items():
        path = installation.state_dir / name
        if not path.is_file():
            is_there = path.exists()
            summary = f"{path} {'is not a file' if is_there else 'is gone'}: {effect}"
            yield warning(name, summary, ("move it away, and " if is_there else "") + "restart `mailroomd`")


def _check_state_files(installation: Installation, files: list[OpenFile]) -> Iterator[Finding]:
    """Compares database and lock. A directory that differs explains both."""
    used = {file.path.parent for file in files if file.path.name == LOCK_NAME}
    other = next((path for path in used if path.exists() and not _is_same(path, installation.state_dir)), None)
    if other is not None:
        summary = f"the daemon uses the state directory {other}, not {installation.state_dir}"
        yield problem("state directory", summary, f"give the tools --state-dir {other}, or set MAILROOM_STATE_DIR")
        return
    if files:
        yield from _check_kept_files(installation)
    names = {"database": (DATABASE_NAME, f"{DATABASE_NAME}-wal"), "state lock": (LOCK_NAME,)}
    for check_name, evidence in names.items():
        path = installation.state_dir / evidence[0]
        users = [file.pid for file in files if file.path.name in evidence]  # its log tells if it was renamed itself
        if users and not any(file.is_at(path) for file in files):
            yield problem(
                check_name,
                f"{path} was deleted, moved or replaced, and mailroomd (pid {users[0]}) still uses the old file",
                "save what it holds with `mailroom export > mail.jsonl` while it runs, then restart `mailroomd` and "
                "import the file",
            )


def _check_root(installation: Installation, files: list[OpenFile]) -> Iterator[Finding]:
    used = {file.path.parent for file in files if file.path.name == installation.inbox.name and _is_inbox(file)}
    other = next((path for path in used if not _is_same(path, installation.root)), None)
    if other is not None:
        summary = f"the daemon uses the root directory {other}, not {installation.root}"
        yield warning("root directory", summary, f"set MAILROOM_ROOT={other} for agents and tools, or give --root")
    variable = os.environ.get("CLAUDE_CONFIG_DIR")
    root = other or installation.root
    if variable and not _is_same(Path(variable).expanduser(), root):
        yield warning(
            "root directory",
            f"CLAUDE_CONFIG_DIR is {variable}, but the root directory is {root}: Claude Code does not read its teams/",
            f"start `mailroomd` with --root {variable}, and set MAILROOM_ROOT to it for hooks and tools",
        )


def _is_inbox(file: OpenFile) -> bool:
    return (file.path / ".tmp").exists()


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return path == other
