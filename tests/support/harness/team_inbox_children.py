"""The programs of the child processes of the team inboxes' tests; they import this module by name."""

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mailroomd.model.message import Draft
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.team_inbox.directory_lock import DirectoryLock, LockBusy
from mailroomd.storage.team_inbox.inboxes import TeamInboxes

AGENT, TEAM = "bob", "alpha"
NOON_MS = 1_767_268_800_000
PATIENCE_SEC = 1.0


def numbered(writer: str, number: int) -> StoredMail:
    """A message whose content follows from its number."""
    text = f"{number} {'ü' * (number % 300)}"
    return StoredMail(_first_id(writer) + number, NOON_MS + number, Draft(f"{AGENT}@{TEAM}", writer, text))


def _first_id(writer: str) -> int:
    return 1 + ord(writer[-1]) * 1_000_000_000


def append_for(root: Path, writer: str, seconds: float, result: "Connection[Any, Any]") -> None:
    """Appends at full speed for a while; then sends how many messages, and how often the lock was busy."""
    inboxes = TeamInboxes(root, PATIENCE_SEC)
    end = time.monotonic() + seconds
    number = busy = 0
    while time.monotonic() < end:
        try:
            inboxes.append(AGENT, TEAM, numbered(writer, number))
            number += 1
        except LockBusy:
            busy += 1
    result.send((number, busy))


def append_until_killed(root: Path, writer: str, stale_sec: float, result: "Connection[Any, Any]") -> None:
    """Appends at full speed, and sends the number of each message once it is there."""
    inboxes = TeamInboxes(root, PATIENCE_SEC, stale_sec)
    number = 0
    while True:
        try:
            inboxes.append(AGENT, TEAM, numbered(writer, number))
            result.send(number)
            number += 1
        except LockBusy:
            continue


def hold(directory: Path, file: str, stale_sec: float, result: "Connection[Any, Any]") -> None:
    """Takes the lock, reports that, and holds it until killed; reports when it was lost."""
    lock = DirectoryLock(os.open(directory, os.O_RDONLY | os.O_DIRECTORY), file, stale_sec)
    lock.acquire(PATIENCE_SEC)
    result.send("held")
    while not lock.is_lost:
        time.sleep(0.01)
    result.send("lost")
