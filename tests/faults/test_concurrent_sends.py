"""Every process is killed under 256 concurrent sends of one SDK client: what was acknowledged is there exactly once.

MAILROOM_TEST_ROUNDS says how often each process is killed (2), MAILROOM_TEST_SEED repeats the moments of a run.
"""

import json
import signal
import sqlite3
from collections import Counter
from contextlib import closing

import pytest
from support.faults.crowd import CROWD, MAILBOXES, Note, running_crowd
from support.harness.daemon import WORKERS, Daemon, short_directory
from support.harness.waiting import chance, pause, rounds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

LATEST_SEC = 0.3  # after which the kill comes: some batches


def kill(daemon: Daemon, victim: str) -> None:
    """Kills a process and returns when its successor runs."""
    if victim == "supervisor":
        daemon.kill_supervisor()
        daemon.start()
    else:
        daemon.wait_replaced(daemon.signal_workers([victim], signal.SIGKILL))


def stored(daemon: Daemon) -> dict[str, str]:
    """Returns the content of every message in the database, by id; each must have a file that says the same."""
    with closing(sqlite3.connect(f"file:{daemon.database}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT id, recipient, content FROM messages").fetchall()
    places = {f"{number:016x}": (recipient, content) for number, recipient, content in rows}
    files = {
        path.stem: (path.parent.name, json.loads(path.read_bytes())["content"])
        for number in range(MAILBOXES)
        for path in (daemon.inbox / f"crowd-{number}").iterdir()
    }
    assert files == places
    return {message_id: content for message_id, (_, content) in places.items()}


def judge(daemon: Daemon, notes: list[Note]) -> None:
    """Checks that each acknowledged send is stored exactly once, each failed one at most once, and nothing else."""
    there = stored(daemon)
    assert [key for key, count in Counter(there.values()).items() if count > 1] == []
    acknowledged = {note.message_id: note.key for note in notes if note.message_id}
    assert acknowledged.items() <= there.items()
    assert set(there.values()) - set(acknowledged.values()) <= {note.key for note in notes if not note.message_id}
    assert [note for note in notes if note.error and note.is_patient] == [], "a restart is unseen"
    for caller in range(CROWD):
        ids = [note.message_id for note in notes if note.caller == caller and note.message_id]
        assert ids == sorted(ids), "the sends of one caller are stored in their order"


@pytest.mark.parametrize("victim", [*WORKERS, "supervisor"])
@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
def test_kills_under_concurrent_sends_lose_and_double_nothing(kind: str, victim: str) -> None:
    random_numbers = chance(f"{kind} {victim}")
    with short_directory() as directory:
        daemon = Daemon(directory, ("--max-unread", "10000000"))
        try:
            daemon.start()
            with running_crowd(daemon.address, kind, directory) as crowd:
                for _ in range(rounds()):
                    pause(random_numbers.uniform(0, LATEST_SEC))
                    kill(daemon, victim)
                    crowd.wait_for_progress()
                notes = crowd.end()
            judge(daemon, notes)
            assert daemon.stop() == 0
            daemon.start()
            judge(daemon, notes)
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()
        print(f"{len(notes)} sends, {sum(bool(note.error) for note in notes)} given up")
