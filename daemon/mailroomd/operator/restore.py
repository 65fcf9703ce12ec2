"""Restoring — compares a backup with the present database, and stages it for the daemon.

The daemon takes a staged backup from `{state_dir}/restore` when its command-queue starts, carries over newer messages,
and keeps the previous database. Not here: that exchange (`storage.database.restore`), which the daemon alone performs.
"""

__all__ = ["RestorePreview", "count_rejected", "is_staged", "preview_restore", "rejected_backups", "stage_backup"]

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mailroomd.model.settings import RESTORE_DIRECTORY
from mailroomd.operator.backup import DatabaseSummary, copy_database, inspect_backup, summarize, sync
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only
from mailroomd.storage.database.restore import REFUSED_NAME
from mailroomd.storage.directories.files import OPEN_DIRECTORY


@dataclass(frozen=True, slots=True)
class RestorePreview:
    """A backup compared with the present database.

    Attributes:
        backup: the contents of the backup.
        present: the contents of the present database, None if there is none.
        newer: the number of present messages that are newer than the backup.
    """

    backup: DatabaseSummary
    present: DatabaseSummary | None
    newer: int


def preview_restore(file: Path, installation: Installation) -> RestorePreview:
    """Returns what restoring a backup would change.

    Raises:
        BackupUnusableError: the backup cannot be restored.
        OSError: the present database cannot be read.
    """
    backup = inspect_backup(file)
    if not installation.database.exists():
        return RestorePreview(backup, None, 0)
    try:
        with closing(open_read_only(installation.database)) as connection:
            newer = connection.execute("SELECT count(*) FROM messages WHERE id > ?", (backup.last_id,)).fetchone()[0]
            return RestorePreview(backup, summarize(connection), newer)
    except sqlite3.Error as error:
        raise OSError(f"cannot read {installation.database}: {error} (see `mailroom doctor`)") from error


def stage_backup(file: Path, installation: Installation) -> None:
    """Copies a backup to where the daemon takes it: at once if it is running, otherwise when it starts.

    Run by root, it gives the copy to the owner of the state directory, which is the daemon's user.

    Raises:
        FileExistsError: another backup is staged already.
        OSError: the copy cannot be written.
    """
    staging = installation.state_dir / RESTORE_DIRECTORY
    part = staging.with_name(f"{RESTORE_DIRECTORY}.part")
    if staging.exists():
        raise FileExistsError(f"another backup is staged in {staging}: start mailroomd, or remove it")
    part.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(part, OPEN_DIRECTORY)
    try:
        copy_database(file, part / installation.database.name)
        if os.geteuid() == 0:
            _give_away(descriptor, installation.database.name, installation.state_dir.stat())
    finally:
        os.close(descriptor)
    part.replace(staging)
    sync(installation.state_dir)


def _give_away(directory: int, name: str, owner: os.stat_result) -> None:
    """Changes the owner of a file and its directory. Links are not followed: the new owner could have placed them."""
    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=directory, follow_symlinks=False)
    os.fchown(directory, owner.st_uid, owner.st_gid)


def is_staged(installation: Installation) -> bool:
    """Returns whether a backup waits for the daemon."""
    return (installation.state_dir / RESTORE_DIRECTORY).exists()


def count_rejected(installation: Installation) -> int:
    """Returns how many backups the daemon has set aside because it could not use them."""
    return len(rejected_backups(installation))


def rejected_backups(installation: Installation) -> list[Path]:
    """Returns the directories of these backups."""
    return sorted(installation.state_dir.glob(f"{REFUSED_NAME}*"))
