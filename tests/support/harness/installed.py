"""A stopped daemon's directories, with a database and inbox files, for the checks of the doctor."""

__all__ = ["SENT_MS", "change", "found", "make_installation", "put_file", "put_team_inbox"]

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from mailroom.addresses import Address
from mailroom.inbox_file_encoder import encode_inbox_file
from mailroomd.model.ids import MS_SHIFT, format_id
from mailroomd.model.message import Draft
from mailroomd.operator.doctor import Finding, Installation, Level, run_checks
from support.harness.storing import StoreHarness, draft

SENT_MS = 1_760_000_000_000  # October 2025
WITHOUT_DAEMON = {"daemon", "socket"}  # what is reported because none is running


def make_installation(base: Path) -> Installation:
    """Makes the directories; bob has three unread messages, with their files."""
    root, state_dir = base / "root", base / "above" / "state"
    for path in (root / "inbox" / ".tmp", root / "inbox" / "bob", root / "outbox", state_dir):
        path.mkdir(parents=True, mode=0o700)
    (base / "run").mkdir(mode=0o700)
    harness = StoreHarness(state_dir)
    harness.now_ms, harness.last_id = SENT_MS, SENT_MS << MS_SHIFT
    for message_id in harness.send(*[draft("bob", f"message {number}") for number in range(3)]):
        put_file(root, message_id, harness.table[message_id].draft)
    harness.store.close()
    return Installation(root, state_dir, Address(f"unix:{base}/run/mailroom.sock"))


def put_file(root: Path, message_id: int, content: Draft) -> Path:
    path = root / "inbox" / content.recipient / f"{format_id(message_id)}.json"
    path.write_bytes(encode_inbox_file(message_id, SENT_MS, content))
    return path


def found(installation: Installation) -> list[Finding]:
    """Returns what the doctor reports, without what is always reported while no daemon is running."""
    return [
        finding
        for finding in run_checks(installation)
        if finding.level is not Level.OK and finding.check not in WITHOUT_DAEMON
    ]


def change(installation: Installation, script: str) -> None:
    with closing(sqlite3.connect(installation.database)) as connection:
        connection.executescript(script)


def put_team_inbox(installation: Installation, content: bytes, *, age_sec: float = 60.0) -> Path:
    path = installation.teams / "red" / "inboxes" / "bob.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    written_sec = time.time() - age_sec
    os.utime(path, (written_sec, written_sec))
    return path
