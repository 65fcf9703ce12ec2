"""A transaction that fails at any statement changes nothing, on the disk or in memory: the same work succeeds later."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailroomd.protocol.local_events import FilesTaken, MailExpired, MailFiled, ResponseLeft
from mailroomd.protocol.packets import Command, LazyCommand, NoteSeen
from mailroomd.storage.database.message_store import SequencedEvent
from mailroomd.storage.database.transactions import StoreFailed
from support.faults.failing import Failing, connect
from support.harness.storing import NOW_MS, Desk, draft, recounted

KINDS = ("send", "send", "keyed", "read", "take", "expire", "offer", "file", "clear", "alias", "seen", "respond")
works = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("ab"), st.integers(0, 7)), min_size=1, max_size=6)
TABLES = ("meta", "messages", "mailboxes", "receipts", "responses", "aliases", "cleared_files")
KEYS = ("idempotency_keys", "request_keys")
INDEX = "SELECT rowid FROM search WHERE search MATCH 'word'"


def content(desk: Desk) -> list[Any]:
    """Returns all that the database holds."""
    tables: list[Any] = [desk.rows(f"SELECT * FROM {table} ORDER BY 1") for table in (*TABLES, *KEYS)]
    return [*tables, desk.rows(INDEX)]


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk with eight messages in two mailboxes, half of them indexed, and a response; closed, to be copied."""
    desk = Desk(tmp_path_factory.mktemp("furnished"))
    message_ids = desk.send(*[draft("ab"[n % 2], f"word {n}", sender="xy"[n // 4]) for n in range(4)])
    desk.store.index_more()
    message_ids += desk.send(*[draft("ab"[n % 2], f"word {n}", ttl_ms=1) for n in range(4)])
    desk.store.files.record_unfiled({message_ids[2]: "why"})
    desk.commit(desk.sequenced(ResponseLeft("s", "0.json", "0", b"{}"), "a"), desk.reading("a", message_ids[0]))
    desk.store.close()
    return desk


def copy_of(furnished: Desk, place: str) -> Desk:
    """Returns a copy in an empty directory."""
    shutil.copytree(furnished.state_dir, place, dirs_exist_ok=True)
    desk = Desk(Path(place))
    desk.rows("PRAGMA synchronous = OFF")
    desk.table, desk.last_id = dict(furnished.table), furnished.last_id
    return desk


def work_of(desk: Desk, steps: list[tuple[str, str, int]]) -> list[Command | LazyCommand | SequencedEvent]:
    ids = sorted(desk.table)
    work: list[Command | LazyCommand | SequencedEvent] = []
    for kind, name, index in steps:
        some = tuple(ids[index % 8 : index % 8 + 3])
        match kind:
            case "send":
                work.append(desk.message(draft(name, "word")))
            case "keyed":
                work.append(desk.message(draft(name, "word"), f"k{index}", client_key=True))
            case "read":
                work.append(desk.reading(name, *some))
            case "take":
                work.append(desk.sequenced(FilesTaken(name, some)))
            case "expire":
                work.append(desk.sequenced(MailExpired(some)))
            case "offer":
                work.append(desk.offering(name, *some))
            case "file":
                work.append(desk.sequenced(MailFiled(some)))
            case "clear":
                work.append(desk.clearing(name, ids[index % 8]))
            case "alias":
                work.append(desk.aliasing(f"s{index}", name, NOW_MS + index))
            case "seen":
                work.append(NoteSeen(name, index))
            case _:
                work.append(desk.sequenced(ResponseLeft("s", f"{index}.json", str(index), b"{}"), name))
    return work


@given(works, st.integers(1, 60))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_commit_that_fails_anywhere_changes_nothing_and_can_be_repeated(
    furnished: Desk, steps: list[tuple[str, str, int]], statement: int
) -> None:
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as other_place:
        desk, lucky = copy_of(furnished, place), copy_of(furnished, other_place)
        work = work_of(desk, steps)
        assert work_of(lucky, steps) == work
        before = content(desk)
        real = desk.connection
        connect(desk.store, Failing(real, statement))
        try:
            desk.commit(*work)
        except StoreFailed:
            connect(desk.store, real)
            assert not real.in_transaction
            assert content(desk) == before
            again = desk.commit(*work)
        else:
            connect(desk.store, real)
            again = None
        expected = lucky.commit(*work)
        assert again is None or sorted(map(repr, again)) == sorted(map(repr, expected))
        assert content(desk) == content(lucky)
        assert {name: row[:2] for name, row in recounted(desk).items()} == {
            name: (total, unread)
            for name, total, unread in desk.rows("SELECT name, total, unread FROM mailboxes WHERE total > 0")
        }
        desk.store.close()
        lucky.store.close()


@given(st.integers(1, 25))
@settings(max_examples=25, deadline=None)
def test_a_sweep_or_an_indexing_that_fails_anywhere_changes_nothing(furnished: Desk, statement: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        desk = copy_of(furnished, place)
        for work in (lambda: desk.store.delete_ended(NOW_MS + 6, 10, NOW_MS), desk.store.index_more):
            before, mark = content(desk), desk.store.mark("indexed_id")
            real = desk.connection
            connect(desk.store, Failing(real, statement))
            try:
                work()
            except StoreFailed:
                connect(desk.store, real)
                assert (content(desk), desk.store.mark("indexed_id")) == (before, mark)
                work()
            connect(desk.store, real)
        while desk.store.index_more():
            pass
        assert desk.rows(INDEX) == desk.rows("SELECT id FROM messages ORDER BY id")
        desk.rows("INSERT INTO search (search, rank) VALUES ('integrity-check', 0)")
        desk.store.close()
