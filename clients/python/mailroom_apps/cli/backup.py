"""`mailroom backup` and `mailroom restore` — copy the database while the daemon runs, and bring a copy back."""

__all__ = ["backup", "restore"]

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.errors import MailroomError
from mailroom.state_lock import read_state_lock

from mailroom_apps.cli.connection import chosen_address, connect, quiet_grpc
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address, StateDir
from mailroom_apps.cli.output import emit, emit_note

if TYPE_CHECKING:
    from mailroomd.operator.backup import DatabaseSummary
    from mailroomd.operator.installation import Installation
    from mailroomd.operator.restore import RestorePreview

RESTORE_SEC = 120.0  # for the daemon to stop its workers, check the backup and carry over newer messages
POLL_SEC = 0.1


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup to write. An older backup is replaced.")],
    force: Annotated[bool, typer.Option("--force", help="Also replace a file that is not a backup.")] = False,
    state_dir: StateDir = None,
    address: Address = None,
) -> None:
    """Copy the database to a file while the daemon runs. The copy is a consistent snapshot, checked and fsynced."""
    from mailroomd.operator.backup import back_up

    installation = _find_installation(state_dir, address)
    if not installation.database.exists():
        raise OSError(f"no database in {installation.state_dir}; give the daemon's --state-dir")
    summary = back_up(installation, file, force=force, report_progress=_show_progress)
    emit(f"{file}: {_describe(summary)}, {file.stat().st_size / 1e6:,.1f} MB")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", exists=True, dir_okay=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    state_dir: StateDir = None,
    address: Address = None,
) -> None:
    """Restore a backup, even while the daemon runs. Messages that are newer than the backup are kept."""
    from mailroomd.operator.restore import count_rejected, preview_restore, stage_backup

    installation = _find_installation(state_dir, address)
    _show_preview(preview_restore(file, installation), file)
    if not yes and not _is_confirmed():
        raise typer.Exit(ExitCode.REFUSED)
    rejected_before = count_rejected(installation)
    installation.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_running = read_state_lock(installation.state_dir).is_held
    stage_backup(file, installation)
    if not is_running:
        emit("mailroomd is not running; it restores the backup when it starts")
        return
    deadline = time.monotonic() + RESTORE_SEC
    _wait_until_taken(installation, deadline)
    if count_rejected(installation) > rejected_before:
        raise OSError("mailroomd could not use the backup (see its log); the database is unchanged")
    _wait_until_serving(installation, deadline)
    emit("restored; the previous database is kept as mailroom.db.replaced-…")


def _find_installation(state_dir: str | None, address: str | None) -> "Installation":
    from mailroomd.operator.installation import Installation

    quiet_grpc()
    installation = Installation.find(state_dir=state_dir, address=chosen_address(address))
    if installation.configuration_error and not state_dir:
        raise OSError(f"{installation.configuration_error}: correct it, or give the daemon's --state-dir")
    return installation


def _describe(summary: "DatabaseSummary") -> str:
    return f"{summary.messages:,} messages, {summary.unread:,} unread, up to {summary.last_id:016x}"


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done / max(1, total):4.0%} of {total:,} pages", end=end, file=sys.stderr, flush=True)


def _show_preview(preview: "RestorePreview", file: Path) -> None:
    emit(f"{file}: {_describe(preview.backup)}")
    if preview.present is None:
        emit("no database yet; the backup becomes the database")
        return
    present = preview.present
    emit(
        f"present database: {present.messages:,} messages, {present.unread:,} unread; "
        f"{preview.newer:,} are newer than the backup and are kept"
    )
    emit(
        "messages that were read or deleted since the backup return to their earlier state, unread ones are filed again"
    )


def _is_confirmed() -> bool:
    if not sys.stdin.isatty():
        emit_note("nothing was changed: confirm with --yes")
        return False
    return typer.confirm("Restore the backup?")


def _wait_until_taken(installation: "Installation", deadline: float) -> None:
    from mailroomd.operator.restore import is_staged

    while True:
        is_running = read_state_lock(installation.state_dir).is_held  # first: it may take the backup and then end
        if not is_staged(installation):
            return
        if not is_running:
            raise OSError("mailroomd exited before it restored the backup (see its log); it will on its next start")
        if time.monotonic() >= deadline:
            raise OSError("mailroomd has not taken the backup yet (see its log); it will when it starts again")
        time.sleep(POLL_SEC)


def _wait_until_serving(installation: "Installation", deadline: float) -> None:
    with connect(installation.address.text) as client:
        while time.monotonic() < deadline:
            try:
                if client.health(timeout=1.0).value == "serving":
                    return
            except MailroomError:
                pass  # it is starting
            if not read_state_lock(installation.state_dir).is_held:
                raise OSError("mailroomd took the backup, but has ended; see its log")
            time.sleep(POLL_SEC)
    emit_note("restored, but mailroomd is not serving yet; see `mailroom status`")
