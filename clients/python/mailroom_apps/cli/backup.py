"""`mailroom backup` and `mailroom restore` — a copy of the database while the daemon runs, and the way back."""

__all__ = ["backup", "restore"]

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from mailroom.errors import MailroomError

from mailroom_apps.cli.connection import chosen_address, connect, quiet_grpc
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address
from mailroom_apps.cli.output import emit, remark

if TYPE_CHECKING:
    from mailroomd.operator.backup import Standing
    from mailroomd.operator.places import Places

RESTORE_SEC = 120.0  # for the daemon to stop its workers, check the backup and carry over what is newer
LOOK_EVERY_SEC = 0.1
Result = TypeVar("Result")
StateDir = Annotated[
    str | None, typer.Option(metavar="DIR", help="The daemon's own files.", show_default="MAILROOM_STATE_DIR, …")
]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes; an older one is replaced.")],
    state_dir: StateDir = None,
    address: Address = None,
) -> None:
    """Copies the database to a file: checked, fsynced, of one instant; the daemon may go on meanwhile."""
    from mailroomd.operator.backup import back_up

    places = _places(state_dir, address)
    _require_database(places)
    found = _guarded(lambda: back_up(places.database, file, _show_progress))
    size = file.stat().st_size / 1e6
    emit(f"{file}: {found.messages:,} messages, {found.unread:,} unread, up to {found.last_id:016x}; {size:,.1f} MB")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.", exists=True, dir_okay=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    state_dir: StateDir = None,
    address: Address = None,
) -> None:
    """Brings a backup back, also while the daemon runs; mail that is newer than the backup stays."""
    from mailroomd.operator.backup import is_staged, refused, stage, standing_of
    from mailroomd.operator.doctor.locks import LockState, state_lock

    places = _places(state_dir, address)
    standing = _guarded(lambda: standing_of(file, places))
    _say(standing, file)
    if not yes and not _confirmed():
        raise typer.Exit(ExitCode.REFUSED)
    before = refused(places)
    places.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _guarded(lambda: stage(file, places))
    if state_lock(places)[0] is not LockState.HELD:
        emit("mailroomd does not run: it restores the backup when it starts")
        return
    deadline = time.monotonic() + RESTORE_SEC
    while is_staged(places) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SEC)
    if is_staged(places):
        raise OSError("mailroomd has not taken the backup yet: see its log; it takes it when it starts")
    if refused(places) > before:
        raise OSError("mailroomd could not use the backup, its log says why; the database is as it was")
    _wait_until_serving(address, deadline)
    emit("restored; the database that was there is kept beside it as mailroom.db.replaced-…")


def _places(state_dir: str | None, address: str | None) -> "Places":
    from mailroomd.operator.places import Places

    quiet_grpc()
    return Places.find(state_dir=state_dir, address=chosen_address(address))


def _require_database(places: "Places") -> None:
    if not places.database.exists():
        raise OSError(f"there is no database in {places.state_dir}: name the daemon's --state-dir")


def _guarded(work: Callable[[], Result]) -> Result:
    import sqlite3

    try:
        return work()
    except sqlite3.Error as error:
        raise OSError(f"the database cannot be copied or read: {error} (mailroom doctor looks at it)") from error


def _show_progress(done: int, pages: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == pages else ""
        print(f"\r{done / max(1, pages):4.0%} of {pages:,} pages", end=end, file=sys.stderr, flush=True)


def _say(standing: "Standing", file: Path) -> None:
    backup, present = standing.backup, standing.present
    emit(f"{file}: {backup.messages:,} messages, {backup.unread:,} unread, up to {backup.last_id:016x}")
    if present is None:
        emit("there is no database now: the backup becomes it")
        return
    emit(f"now: {present.messages:,} messages, {present.unread:,} unread; {standing.newer:,} are newer, and stay")
    emit("what was read or deleted since the backup comes back as it was then, and unread mail is filed again")


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        remark("nothing was changed: confirm with --yes")
        return False
    return typer.confirm("restore it?")


def _wait_until_serving(address: str | None, deadline: float) -> None:
    with connect(address) as client:
        while time.monotonic() < deadline:
            try:
                if client.health(timeout=1.0).value == "serving":
                    return
            except MailroomError:
                pass  # it starts
            time.sleep(LOOK_EVERY_SEC)
    remark("restored, but mailroomd does not take mail yet: mailroom status")
