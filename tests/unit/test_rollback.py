"""A transaction that fails at any statement changes nothing, on the disk or in memory: the same work succeeds later."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailroomd.protocol.local_events import FilesTaken, MailExpired, MailFiled, ResponseLeft
from mailroomd.protocol.operations import GiveUp
from mailroomd.protocol.packets import Command, LazyCommand, NoteSeen
from mailroomd.storage.database.message_store import SequencedEvent
from mailroomd.storage.database.transactions import StoreFailed
from support.faults.failing import Failing, connect
from support.harness.storing import NOW_MS, StoreHarness, draft, recounted

KINDS = (
    "send",
    "send",
    "keyed",
    "read",
    "take",
    "expire",
    "offer",
    "file",
    "clear",
    "alias",
    "seen",
    "respond",
    "depart",
    "give up",
)
works = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("ab"), st.integers(0, 7)), min_size=1, max_size=6)
TABLES = ("meta", "messages", "mailboxes", "receipts", "responses", "aliases", "cleared_files")
DEPARTURES = (  # without the run, which each store draws by itself
    "SELECT q.host, q.id, q.size_bytes, d.reason FROM departures d LEFT JOIN forward_queue q USING (id) ORDER BY d.id"
)
KEYS = ("idempotency_keys", "request_keys")
INDEX = "SELECT rowid FROM search WHERE search MATCH 'word'"


def content(harness: StoreHarness) -> list[Any]:
    """Returns all that the database holds."""
    tables: list[Any] = [harness.rows(f"SELECT * FROM {table} ORDER BY 1") for table in (*TABLES, *KEYS)]
    return [*tables, harness.rows(INDEX), harness.rows(DEPARTURES)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> StoreHarness:
    """A harness with eight messages in two mailboxes, half of them indexed, and a response; closed, to be copied."""
    harness = StoreHarness(tmp_path_factory.mktemp("prepared"))
    message_ids = harness.send(*[draft("ab"[n % 2], f"word {n}", sender="xy"[n // 4]) for n in range(4)])
    harness.store.index_more()
    message_ids += harness.send(*[draft("ab"[n % 2], f"word {n}", ttl_ms=1) for n in range(4)])
    harness.store.files.record_unfiled({message_ids[2]: "why"})
    harness.commit(
        harness.sequenced(ResponseLeft("s", "0.json", "0", b"{}"), "a"), harness.reading("a", message_ids[0])
    )
    harness.store.close()
    return harness


def copy_of(prepared: StoreHarness, place: str) -> StoreHarness:
    """Returns a copy in an empty directory."""
    shutil.copytree(prepared.state_dir, place, dirs_exist_ok=True)
    harness = StoreHarness(Path(place))
    harness.rows("PRAGMA synchronous = OFF")
    harness.table, harness.last_id = dict(prepared.table), prepared.last_id
    return harness


def work_of(harness: StoreHarness, steps: list[tuple[str, str, int]]) -> list[Command | LazyCommand | SequencedEvent]:
    ids = sorted(harness.table)
    work: list[Command | LazyCommand | SequencedEvent] = []
    for kind, name, index in steps:
        some = tuple(ids[index % 8 : index % 8 + 3])
        match kind:
            case "send":
                work.append(harness.message(draft(name, "word")))
            case "keyed":
                work.append(harness.message(draft(name, "word"), f"k{index}", client_key=True))
            case "read":
                work.append(harness.reading(name, *some))
            case "take":
                work.append(harness.sequenced(FilesTaken(name, some)))
            case "expire":
                work.append(harness.sequenced(MailExpired(some)))
            case "offer":
                work.append(harness.offering(name, *some))
            case "file":
                work.append(harness.sequenced(MailFiled(some)))
            case "clear":
                work.append(harness.clearing(name, ids[index % 8]))
            case "alias":
                work.append(harness.aliasing(f"s{index}", name, NOW_MS + index))
            case "depart":
                work.append(harness.message(draft("c:h", "word")))
            case "give up":
                newest = sorted(harness.table)[-3:]
                work.append(Command(harness.issue(3), GiveUp("h", newest, "HOST_REMOVED: gone"), 3))
            case "seen":
                work.append(NoteSeen(name, index))
            case _:
                work.append(harness.sequenced(ResponseLeft("s", f"{index}.json", str(index), b"{}"), name))
    return work


@given(works, st.integers(1, 60))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_commit_that_fails_anywhere_changes_nothing_and_can_be_repeated(
    prepared: StoreHarness, steps: list[tuple[str, str, int]], statement: int
) -> None:
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as other_place:
        harness, undisturbed = copy_of(prepared, place), copy_of(prepared, other_place)
        work = work_of(harness, steps)
        assert work_of(undisturbed, steps) == work
        before = content(harness)
        real = harness.connection
        connect(harness.store, Failing(real, statement))
        try:
            harness.commit(*work)
        except StoreFailed:
            connect(harness.store, real)
            assert not real.in_transaction
            assert content(harness) == before
            again = harness.commit(*work)
        else:
            connect(harness.store, real)
            again = None
        expected = undisturbed.commit(*work)
        assert again is None or sorted(map(repr, again)) == sorted(map(repr, expected))
        assert content(harness) == content(undisturbed)
        assert {name: row[:2] for name, row in recounted(harness).items()} == {
            name: (total, unread)
            for name, total, unread in harness.rows("SELECT name, total, unread FROM mailboxes WHERE total > 0")
        }
        harness.store.close()
        undisturbed.store.close()


@given(st.integers(1, 25))
@settings(max_examples=25, deadline=None)
def test_a_sweep_or_an_indexing_that_fails_anywhere_changes_nothing(prepared: StoreHarness, statement: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        harness = copy_of(prepared, place)
        for work in (lambda: harness.store.delete_ended(NOW_MS + 6, 10, NOW_MS), harness.store.index_more):
            before, mark = content(harness), harness.store.mark("indexed_id")
            real = harness.connection
            connect(harness.store, Failing(real, statement))
            try:
                work()
            except StoreFailed:
                connect(harness.store, real)
                assert (content(harness), harness.store.mark("indexed_id")) == (before, mark)
                work()
            connect(harness.store, real)
        while harness.store.index_more():
            pass
        assert harness.rows(INDEX) == harness.rows("SELECT id FROM messages ORDER BY id")
        harness.rows("INSERT INTO search (search, rank) VALUES ('integrity-check', 0)")
        harness.store.close()
