"""The store on a real database: what a commit promises, what a key recognises, and what an error leaves behind."""

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailroomd.model.commands import (
    Command,
    CommandRefused,
    MailboxCounted,
    MessageFiled,
    MessageRepeated,
    MessagesTaken,
    MessageWritten,
    Outcome,
    ReadWritten,
    WriteMessage,
    WriteOffered,
    WriteRead,
    WriteSeen,
)
from mailroomd.model.errors import Reason
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database import (
    SCHEMA_VERSION,
    DatabaseTooNew,
    is_full,
    is_lost_write,
    lost_write_was_noted,
    note_lost_write,
    open_archive,
)
from mailroomd.storage.message_archive import MessageArchive
from mailroomd.storage.message_store import MessageStore, StoreFailed, StoreFull
from mailroomd.storage.request_keys import CLIENT_KEYS_KEPT_MS, GATEWAY_KEYS_KEPT_MS, PRUNE_SLICE
from support.storing import NOW_MS, Desk, draft

FILED, READ, STORED = DeliveryState.FILED, DeliveryState.READ, DeliveryState.STORED


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()


def answers(outcomes: list[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if not isinstance(one, MailboxCounted)]


def counted(outcomes: list[Outcome]) -> dict[str, tuple[int, int, int]]:
    return {
        one.name: (one.total, one.unread, one.oldest_unread_id) for one in outcomes if isinstance(one, MailboxCounted)
    }


def recounted(desk: Desk) -> dict[str, tuple[int, int, int]]:
    return {
        name: (total, unread, oldest or 0)
        for name, total, unread, oldest in desk.rows(
            "SELECT recipient, count(*), sum(state < 4), min(CASE WHEN state < 4 THEN id END) FROM messages GROUP BY 1"
        )
    }


# -- the group commit -------------------------------------------------------------------------------------------------


def test_a_commit_stores_what_has_gathered_in_order_and_counts_come_before_the_answers(desk: Desk) -> None:
    commands = [desk.letter(draft("a")), desk.letter(draft("b")), desk.letter(draft("a"))]
    done = desk.done(*commands)
    assert answers(done.outcomes) == [MessageWritten(one.id, FILED) for one in commands]
    assert all(isinstance(one, MailboxCounted) for one in done.outcomes[:2])
    assert counted(done.outcomes) == {"a": (2, 2, commands[0].id), "b": (1, 1, commands[1].id)}
    assert [one.id for one in done.mail] == [one.id for one in commands]
    assert desk.store.mark("last_id") == commands[-1].id


def test_last_id_counts_ids_of_every_kind_and_never_goes_back(desk: Desk) -> None:
    desk.commit(desk.letter(draft()))
    desk.last_id += 10
    desk.commit(WriteRead(desk.last_id, "abc", []))
    assert desk.store.mark("last_id") == desk.last_id
    desk.commit(WriteSeen("abc", NOW_MS))
    desk.reopen()
    assert desk.store.mark("last_id") == desk.last_id


def test_an_acknowledgement_marks_read_what_is_in_the_mailbox_and_names_what_is_not(desk: Desk) -> None:
    first, second, other = (desk.letter(draft(name)) for name in ("a", "a", "b"))
    desk.commit(first, second, other)
    done = desk.done(WriteRead(desk.last_id + 1, "a", [first.id, other.id, 7]))
    assert answers(done.outcomes) == [ReadWritten(desk.last_id + 1, "a", [first.id], [other.id, 7])]
    assert counted(done.outcomes) == {"a": (2, 1, second.id)}
    assert done.read == [("a", [first.id])]
    assert desk.rows("SELECT state, read_ms FROM messages WHERE id = ?", first.id) == [(READ, NOW_MS)]


def test_an_acknowledgement_for_an_agent_that_never_got_mail_makes_no_mailbox(desk: Desk) -> None:
    assert counted(desk.commit(WriteRead(desk.last_id + 1, "nobody", [7]))) == {}
    assert desk.rows("SELECT * FROM mailboxes") == []


def test_offered_moves_only_forward_and_seen_only_later(desk: Desk) -> None:
    one, other = desk.letter(draft()), desk.letter(draft())
    desk.commit(one, other)
    desk.commit(WriteRead(desk.last_id + 1, "abc", [other.id]))
    desk.store.commit_lazily(
        [WriteOffered("abc", [one.id, other.id], NOW_MS), WriteSeen("abc", 9), WriteSeen("abc", 5)], 0, NOW_MS
    )
    assert desk.rows("SELECT state FROM messages ORDER BY id") == [(DeliveryState.OFFERED,), (READ,)]
    assert desk.rows("SELECT total, unread, last_seen_ms FROM mailboxes") == [(2, 1, 9)]


# -- the same request again -------------------------------------------------------------------------------------------


def test_the_same_key_and_request_is_stored_once_also_after_a_restart(desk: Desk) -> None:
    first = desk.letter(draft(), "k", client_key=True)
    desk.commit(first)
    for _ in range(2):
        again = desk.letter(draft(), "k", client_key=True)
        done = desk.done(again)
        assert answers(done.outcomes) == [MessageRepeated(again.id, first.id, NOW_MS + 5, FILED, "")]
        assert done.mail == []
        desk.reopen()
    assert desk.rows("SELECT count(*) FROM messages") == [(1,)]
    assert desk.store.mark("last_id") == desk.last_id


def test_the_same_key_twice_in_one_batch_is_stored_once_and_said_to_be_filed(desk: Desk) -> None:
    first, again = (desk.letter(draft(), "k", client_key=True) for _ in range(2))
    assert answers(desk.commit(first, again)) == [
        MessageWritten(first.id, FILED),
        MessageRepeated(again.id, first.id, NOW_MS + 5, FILED, ""),
    ]
    assert counted(desk.commit(desk.letter(draft())))["abc"][0] == 2


def test_a_key_is_its_senders_own(desk: Desk) -> None:
    one, other = (desk.letter(draft(sender=name), "k", client_key=True) for name in ("a", "b"))
    assert answers(desk.commit(one, other)) == [MessageWritten(one.id, FILED), MessageWritten(other.id, FILED)]


@pytest.mark.parametrize("together", [True, False])
def test_the_same_key_with_another_request_is_refused_and_the_batch_goes_on(desk: Desk, together: bool) -> None:
    first = desk.letter(draft(content="one"), "k", client_key=True)
    other = desk.letter(draft(content="two"), "k", client_key=True)
    last = desk.letter(draft())
    outcomes = desk.commit(first, other, last) if together else desk.commit(first) + desk.commit(other, last)
    refused = answers(outcomes)[1]
    assert isinstance(refused, CommandRefused)
    assert (refused.id, refused.reason, refused.retry_after_ms) == (other.id, Reason.IDEMPOTENCY_KEY_REUSED, 0)
    assert desk.rows("SELECT id FROM messages ORDER BY id") == [(first.id,), (last.id,)]


def test_a_repeated_request_says_how_the_message_stands_now_and_read_where_it_is_gone(desk: Desk) -> None:
    first = desk.letter(draft(), "k", client_key=True)
    desk.commit(first)
    desk.commit(WriteRead(desk.last_id + 1, "abc", [first.id]))
    desk.last_id += 1
    again = desk.letter(draft(), "k", client_key=True)
    assert answers(desk.commit(again)) == [MessageRepeated(again.id, first.id, NOW_MS + 5, READ, "")]
    desk.connection.execute("DELETE FROM messages")  # retention
    again = desk.letter(draft(), "k", client_key=True)
    assert answers(desk.commit(again)) == [MessageRepeated(again.id, first.id, NOW_MS, READ, "")]


def test_a_gateways_key_is_looked_up_only_where_the_request_was_sent_before(desk: Desk) -> None:
    first = desk.letter(draft(), "018-0-1")
    desk.commit(first)
    again = desk.letter(draft(), "018-0-1", resubmitted=True)
    assert answers(desk.commit(again)) == [MessageRepeated(again.id, first.id, NOW_MS + 5, FILED, "")]
    never_stored = desk.letter(draft(), "018-0-2", resubmitted=True)
    assert answers(desk.commit(never_stored)) == [MessageWritten(never_stored.id, FILED)]


def test_commands_heard_again_are_answered_from_their_rows_and_their_mailboxes_counted_again(desk: Desk) -> None:
    """The command-queue died after the commit, before it could report."""
    one, other = desk.letter(draft("a")), desk.letter(draft("b"))
    read = WriteRead(desk.last_id + 1, "a", [one.id])
    desk.last_id += 1
    desk.commit(one, other, WriteOffered("b", [other.id], 5), read)
    desk.commit(read)
    desk.reopen()
    outcomes = desk.commit(one, other, read)
    assert answers(outcomes) == [
        MessageWritten(one.id, READ),
        MessageWritten(other.id, FILED),
        ReadWritten(read.id, "a", [one.id], []),
    ]
    assert counted(outcomes) == {"a": (1, 0, 0), "b": (1, 1, other.id)}
    assert desk.done(one, other).mail == []


def test_a_refusal_that_comes_with_a_request_holds_unless_the_request_was_committed_before(desk: Desk) -> None:
    first = desk.letter(draft(), "k", client_key=True)
    desk.commit(first)
    again, fresh = desk.letter(draft(), "k", client_key=True), desk.letter(draft(), "other", client_key=True)
    refusals = [CommandRefused(one.id, Reason.MAILBOX_FULL, "full", 5) for one in (again, fresh)]
    commands = [msgspec.structs.replace(one, refusal=no) for one, no in zip((again, fresh), refusals, strict=True)]
    assert answers(desk.commit(*commands)) == [MessageRepeated(again.id, first.id, NOW_MS + 5, FILED, ""), refusals[1]]
    assert desk.rows("SELECT key FROM idempotency_keys") == [("k",)]


def test_an_id_whose_transaction_failed_is_never_used_again(desk: Desk) -> None:
    failed, later = desk.letter(draft()), desk.letter(draft())
    desk.commit(later)
    refused = answers(desk.commit(failed))
    assert [(one.id, one.reason) for one in refused if isinstance(one, CommandRefused)] == [
        (failed.id, Reason.STORAGE_FAILED)
    ]
    assert desk.rows("SELECT id FROM messages") == [(later.id,)]


def test_a_letter_that_is_not_in_the_table_any_more_is_refused_and_the_others_are_not(desk: Desk) -> None:
    lost, good = desk.letter(draft()), desk.letter(draft())
    del desk.table[lost.id]
    refused, written = answers(desk.commit(lost, good))
    assert isinstance(refused, CommandRefused)
    assert written == MessageWritten(good.id, FILED)


# -- when SQLite fails ------------------------------------------------------------------------------------------------


def fill_up(desk: Desk) -> None:
    """Lets the database grow no further: a real SQLITE_FULL."""
    pages = desk.rows("PRAGMA page_count")[0][0]
    desk.rows(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_rolls_everything_back_and_sending_works_again_when_there_is_room(desk: Desk) -> None:
    small = desk.letter(draft())
    desk.commit(small)
    fill_up(desk)
    large = desk.letter(draft(content="x" * 100_000), "k", client_key=True)
    with pytest.raises(StoreFull):
        desk.commit(desk.letter(draft("other")), large)
    assert recounted(desk) == {"abc": (1, 1, small.id)}
    assert desk.rows("SELECT count(*) FROM idempotency_keys") == [(0,)]
    assert desk.store.mark("last_id") == small.id
    desk.rows("PRAGMA max_page_count = 1000000")
    again = desk.letter(draft(content="x" * 100_000), "k", client_key=True)
    outcomes = desk.commit(again)
    assert answers(outcomes) == [MessageWritten(again.id, FILED)]
    assert counted(outcomes) == {"abc": (2, 2, small.id)}


def test_what_is_written_while_another_process_holds_the_database_is_refused_but_not_fatal(desk: Desk) -> None:
    other = sqlite3.connect(desk.state_dir / "mailroom.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    desk.rows("PRAGMA busy_timeout = 1")
    with pytest.raises(StoreFailed) as failed:
        desk.commit(desk.letter(draft()))
    assert not failed.value.fatal
    other.execute("ROLLBACK")
    other.close()
    assert counted(desk.commit(desk.letter(draft())))["abc"][:2] == (1, 1)


def error(code: int) -> sqlite3.OperationalError:
    made = sqlite3.OperationalError("as SQLite says it")
    made.sqlite_errorcode = code
    return made


def test_only_a_failed_fsync_is_a_lost_write_and_only_a_full_disk_is_full(tmp_path: Path) -> None:
    assert is_lost_write(error(sqlite3.SQLITE_IOERR_FSYNC))
    assert is_lost_write(error(sqlite3.SQLITE_IOERR_DIR_FSYNC))
    assert is_full(error(sqlite3.SQLITE_FULL), tmp_path)
    for code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY):
        assert not is_lost_write(error(code))
        assert not is_full(error(code), tmp_path)
    assert not is_full(sqlite3.ProgrammingError("no code"), tmp_path)


def test_a_write_error_is_full_where_a_quota_leaves_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_quota(*_: Any) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr("os.posix_fallocate", no_quota)
    assert is_full(error(sqlite3.SQLITE_IOERR_WRITE), tmp_path)
    assert not is_full(error(sqlite3.SQLITE_IOERR_READ), tmp_path)


class Failing:
    """A connection whose n-th statement fails."""

    def __init__(self, real: sqlite3.Connection, countdown: int) -> None:
        self.real = real
        self.countdown = countdown

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.fail_in_turn(sql)
        return self.real.execute(sql, *values)

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.fail_in_turn(sql)
        return self.real.executemany(sql, *values)

    def fail_in_turn(self, sql: str) -> None:
        self.countdown -= 1
        if self.countdown == 0 and sql != "ROLLBACK":
            raise error(sqlite3.SQLITE_IOERR_FSYNC if sql == "COMMIT" else sqlite3.SQLITE_IOERR_READ)


def connect(store: MessageStore, connection: Any) -> None:
    """Gives a store, and its keys and counters, another connection."""
    for part in (store, store._keys, store._counters):  # pyright: ignore[reportPrivateUsage]
        part._connection = connection  # pyright: ignore[reportPrivateUsage]


def test_a_statement_that_fails_anywhere_leaves_nothing_behind_in_file_or_memory(desk: Desk) -> None:
    kept = desk.letter(draft("a"))
    desk.commit(kept)
    failures = 0
    for statement in range(1, 100):
        batch: list[Command] = [
            desk.letter(draft("a"), f"k{statement}", client_key=True),
            desk.letter(draft("b")),
            WriteRead(desk.last_id + 1, "a", [kept.id]),
        ]
        desk.last_id += 1
        real = desk.connection
        failing: Any = Failing(real, statement)
        connect(desk.store, failing)
        try:
            outcomes = desk.commit(*batch)
        except StoreFailed:
            failures += 1
            connect(desk.store, real)
            assert not real.in_transaction
            assert recounted(desk) == {"a": (1, 1, kept.id)}
            continue
        connect(desk.store, real)
        assert counted(outcomes) == recounted(desk)
        break
    assert failures > 10


# -- counters ---------------------------------------------------------------------------------------------------------

operations = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "read", "take", "fail", "reopen", "unfile", "file", "offer"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@given(operations)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_counters_equal_a_recount_after_any_operations(steps: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(Path(place))
        desk.rows("PRAGMA synchronous = OFF")
        told: dict[str, tuple[int, int, int]] = {}
        batch: list[Command] = []
        for kind, name, number in steps:
            ids = [one for (one,) in desk.rows("SELECT id FROM messages WHERE recipient = ?", name)][:: number + 1]
            if kind == "send":
                batch.append(desk.letter(draft(name)))
                if number:
                    told |= counted(desk.commit(*batch))
                    batch.clear()
            elif kind == "read":
                desk.last_id += 1
                told |= counted(desk.commit(*batch, WriteRead(desk.last_id, name, ids)))
                batch.clear()
            elif kind == "take":
                told |= counted(list(desk.store.take(name, ids, NOW_MS)))
            elif kind == "fail":
                fill_up(desk)
                with pytest.raises(StoreFull):
                    desk.commit(desk.letter(draft(name, "x" * 50_000)))
                desk.rows("PRAGMA max_page_count = 1000000")
            elif kind == "reopen":
                desk.reopen()
            elif kind == "unfile":
                desk.store.note_unfiled(dict.fromkeys(ids, "why"))
            elif kind == "file":
                desk.store.note_filed(ids, NOW_MS)
            else:
                desk.store.commit_lazily([WriteOffered(name, ids, NOW_MS)], 0, NOW_MS)
        told |= counted(desk.commit(*batch))
        assert told == recounted(desk)
        archive = MessageArchive(desk.state_dir)
        assert {row.name: (row.total, row.unread, row.oldest_unread_id) for row in archive.mailboxes()} == told
        assert {name: archive.mailbox(name) for name in told} == {row.name: row for row in archive.mailboxes()}
        archive.close()
        desk.store.close()


# -- files ------------------------------------------------------------------------------------------------------------


def states(desk: Desk) -> list[tuple[int, str, int]]:
    return [
        (row[0], row[1], row[2]) for row in desk.rows("SELECT state, file_error, filed_ms FROM messages ORDER BY id")
    ]


def test_a_file_that_could_not_be_written_is_noted_and_noted_again_when_it_is_there(desk: Desk) -> None:
    one, other = desk.letter(draft()), desk.letter(draft())
    desk.commit(one, other)
    desk.store.note_unfiled({one.id: "no permission"})
    assert states(desk) == [(STORED, "no permission", 0), (FILED, "", NOW_MS)]
    assert desk.store.unfiled() == [("abc", one.id)]
    assert desk.store.filed_after("", 0, 10) == [("abc", other.id)]
    desk.store.note_filed([one.id], NOW_MS + 9)
    assert states(desk) == [(FILED, "", NOW_MS + 9), (FILED, "", NOW_MS)]
    assert desk.store.unfiled() == []


def test_notes_about_files_never_take_back_that_a_message_was_offered_or_read(desk: Desk) -> None:
    one, other = desk.letter(draft()), desk.letter(draft())
    desk.commit(one, other, WriteOffered("abc", [one.id], 1))
    desk.store.commit_lazily([WriteOffered("abc", [one.id], 1)], 0, NOW_MS)
    desk.commit(WriteRead(desk.last_id + 1, "abc", [other.id]))
    before = states(desk)[1]
    for note in (
        lambda: desk.store.note_unfiled({one.id: "e", other.id: "e"}),
        lambda: desk.store.note_filed([one.id, other.id], 5),
    ):
        note()
        assert [state for state, _, _ in states(desk)] == [DeliveryState.OFFERED, READ]
        assert states(desk)[1] == before


def test_a_missing_file_that_could_not_be_noted_is_noted_before_the_synced_mark_passes_it(desk: Desk) -> None:
    """Otherwise the next start takes the missing file for one that its agent took away."""
    one = desk.letter(draft())
    desk.commit(one)
    fill_up(desk)
    with pytest.raises(StoreFull):
        desk.store.note_unfiled({one.id: "x" * 20_000})
    desk.rows("PRAGMA max_page_count = 1000000")
    desk.store.commit_lazily((), one.id, NOW_MS)
    assert desk.store.mark("synced_id") == one.id
    assert desk.store.unfiled() == [("abc", one.id)]


# -- keys, pages, plans -----------------------------------------------------------------------------------------------


def test_keys_are_forgotten_in_slices_after_their_time(desk: Desk) -> None:
    time_ms = [NOW_MS - GATEWAY_KEYS_KEPT_MS - 1] * (PRUNE_SLICE + 10) + [NOW_MS - GATEWAY_KEYS_KEPT_MS + 1]
    desk.connection.executemany(
        "INSERT INTO request_keys VALUES (?, 1)", [(f"{ms:011x}-0-{n}",) for n, ms in enumerate(time_ms)]
    )
    old = (NOW_MS - CLIENT_KEYS_KEPT_MS - 1) << 20
    desk.connection.executemany(
        "INSERT INTO idempotency_keys VALUES ('a', ?, ?, x'00')",
        [(str(n), old) for n in range(10)] + [("young", (NOW_MS - CLIENT_KEYS_KEPT_MS + 1) << 20)],
    )
    assert desk.store.forget_old_keys(NOW_MS)
    assert desk.rows("SELECT count(*) FROM request_keys") == [(11,)]
    assert not desk.store.forget_old_keys(NOW_MS)
    assert desk.rows("SELECT count(*) FROM request_keys") == [(1,)]
    assert desk.rows("SELECT key FROM idempotency_keys") == [("young",)]


def test_pages_of_the_archive_end_at_the_mark(desk: Desk) -> None:
    sent = [desk.letter(draft("ab"[n % 2])) for n in range(20)]
    desk.commit(*sent)
    ids = [one.id for one in sent]
    archive = MessageArchive(desk.state_dir)
    mark = ids[9]
    assert [one.id for one in archive.after(None, ids[3], mark, 100)] == ids[4:10]
    assert [one.id for one in archive.after("a", ids[3], mark, 2)] == [ids[4], ids[6]]
    assert [one.id for one in archive.unread("b", 0, mark, 100, newest_first=True)] == ids[9:0:-2]
    assert [one.id for one in archive.before("a", ids[6], 2)] == [ids[4], ids[2]]
    assert [one.id for one in archive.newest(ids[5], 2)] == [ids[4], ids[3]]
    assert archive.last_id() == ids[-1]
    archive.close()


def test_a_page_ends_at_its_bounds_and_says_so(desk: Desk) -> None:
    sent = [desk.letter(draft("a", "x" * 100)) for _ in range(6)]
    desk.commit(*sent)
    archive = MessageArchive(desk.state_dir)

    def page(limit: int, budget_bytes: int) -> tuple[int, bool]:
        found = archive.after("a", 0, sent[-1].id, limit, budget_bytes)
        return len(found), found.is_cut

    assert [page(10, 10_000), page(6, 10_000), page(5, 10_000)] == [(6, False), (6, True), (5, True)]
    assert [page(10, 250), page(10, 1), page(10, 0), page(10, 600)] == [(3, True), (1, True), (1, True), (6, False)]
    archive.close()


def test_the_queries_use_the_indexes_that_were_made_for_them(desk: Desk) -> None:
    desk.commit(*[desk.letter(draft("ab"[n % 2])) for n in range(50)])
    asked: list[str] = []
    archive = MessageArchive(desk.state_dir)
    archive._connection.set_trace_callback(asked.append)  # pyright: ignore[reportPrivateUsage]
    mark = desk.last_id

    def plan(ask: Any) -> str:
        asked.clear()
        ask()
        return "; ".join(str(row[3]) for sql in asked for row in desk.rows(f"EXPLAIN QUERY PLAN {sql}"))

    unread = "USING INDEX unread_of_mailbox (recipient=?"
    assert unread in plan(lambda: archive.unread("a", 5, mark, 10))
    assert unread in plan(lambda: archive.unread("a", 5, mark, 10, newest_first=True))
    assert unread in plan(lambda: archive.unread("a", 5, mark, 10, unoffered_only=True))
    assert unread in plan(lambda: archive.before("a", mark, 10, unread_only=True))
    assert "USING INDEX messages_of_mailbox (recipient=? AND id>? AND id<?)" in plan(
        lambda: archive.after("a", 5, mark, 10)
    )
    assert "USING INDEX messages_of_mailbox (recipient=? AND id<?)" in plan(lambda: archive.before("a", mark, 10))
    assert "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plan(lambda: archive.after(None, 5, mark, 10))
    assert "USING INTEGER PRIMARY KEY" in plan(lambda: archive.newest(mark, 10))
    for ask in (archive.mailboxes, lambda: archive.mailbox("a")):
        assert "SEARCH messages USING INDEX unread_of_mailbox (recipient=?)" in plan(ask)
    seen: list[str] = []
    desk.connection.set_trace_callback(seen.append)
    desk.store.filed_after("a", 5, 10)
    desk.store.unfiled()
    desk.store.forget_old_keys(NOW_MS)
    desk.connection.set_trace_callback(None)
    plans = [
        str([row[3] for row in desk.rows(f"EXPLAIN QUERY PLAN {sql}")])
        for sql in seen
        if sql.startswith(("SELECT", "DELETE"))
    ]
    assert "unread_of_mailbox" in plans[0]
    assert "unfiled" in plans[1]
    assert not [one for one in plans if "SCAN messages'" in one or "TEMP B-TREE" in one], plans
    archive.close()


def test_a_database_of_a_newer_daemon_is_left_alone_with_a_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    newer = sqlite3.connect(tmp_path / "mailroom.db")
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    before = (tmp_path / "mailroom.db").read_bytes()
    with pytest.raises(DatabaseTooNew, match="install the newer mailroomd again"):
        Desk(tmp_path)
    assert (tmp_path / "mailroom.db").read_bytes() == before


def test_a_log_that_a_crash_left_is_settled_at_the_start(desk: Desk) -> None:
    desk.commit(desk.letter(draft()))
    log = desk.state_dir / "mailroom.db-wal"
    assert log.stat().st_size > 0
    keeper = open_archive(desk.state_dir)  # so that closing the writer folds nothing in by itself
    desk.reopen()
    assert log.stat().st_size == 0
    assert counted(desk.commit(desk.letter(draft())))["abc"][0] == 2
    keeper.close()


def test_a_log_that_cannot_be_settled_for_want_of_room_is_settled_before_the_next_commit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    def settle(connection: sqlite3.Connection) -> None:
        if full:
            raise error(sqlite3.SQLITE_FULL)

    first = desk.letter(draft())
    desk.commit(first)
    desk.store.close()
    monkeypatch.setattr("mailroomd.storage.message_store.settle_log", settle)
    desk.store = MessageStore(desk.state_dir, desk.mail_at)
    assert desk.store.message(first.id) is not None
    with pytest.raises(StoreFull):
        desk.commit(desk.letter(draft()))
    full = False
    assert counted(desk.commit(desk.letter(draft())))["abc"][0] == 2


def test_a_state_dir_with_hostile_characters_in_its_name_is_opened(tmp_path: Path) -> None:
    place = tmp_path / "a?b#c%20d é"
    place.mkdir()
    desk = Desk(place)
    desk.commit(desk.letter(draft()))
    assert MessageArchive(place).last_id() == desk.last_id
    assert (place / "mailroom.db").exists()
    desk.store.close()


def test_closing_while_somebody_reads_is_no_error(desk: Desk) -> None:
    desk.commit(desk.letter(draft()))
    reader = sqlite3.connect(desk.state_dir / "mailroom.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM messages").fetchall()
    desk.commit(desk.letter(draft()))
    desk.rows("PRAGMA busy_timeout = 1")
    desk.store.close()
    reader.close()
    desk.store = MessageStore(desk.state_dir, desk.mail_at)


def test_a_command_that_refers_to_a_draft_with_any_text_comes_back_as_it_was(desk: Desk) -> None:
    odd = draft(content="nul\0 quote' ☃ \u2028 end")
    command: WriteMessage = desk.letter(odd)
    desk.commit(command)
    stored = desk.store.message(command.id)
    assert stored is not None
    assert stored.draft == odd
    assert (stored.timestamp_ms, stored.state) == (NOW_MS + 5, FILED)


def test_only_a_mailboxs_own_messages_are_offered(desk: Desk) -> None:
    one = desk.letter(draft())
    desk.commit(one)
    desk.store.commit_lazily([WriteOffered("bcd", [one.id], NOW_MS)], 0, NOW_MS)
    assert states(desk) == [(FILED, "", NOW_MS)]


def test_what_was_read_or_filed_lately_is_told_again_with_the_counts(desk: Desk) -> None:
    one, other, third = (desk.letter(draft()) for _ in range(3))
    desk.commit(one, other, third)
    desk.store.note_unfiled({third.id: "no permission"})
    desk.store.take("abc", [one.id], NOW_MS + 5)
    assert desk.store.changed_since(NOW_MS + 6) == []
    told = desk.store.changed_since(NOW_MS)
    assert told == [MessageFiled(other.id), MessagesTaken("abc", [one.id]), MailboxCounted("abc", 3, 2, other.id)]


def test_a_reader_is_waited_for_only_after_a_failed_fsync(desk: Desk) -> None:
    desk.commit(desk.letter(draft()))
    reader = MessageArchive(desk.state_dir)
    reader._connection.execute("BEGIN")  # pyright: ignore[reportPrivateUsage]
    assert reader.last_id() == desk.last_id
    desk.commit(desk.letter(draft()))
    desk.reopen()
    desk.commit(desk.letter(draft()))
    note_lost_write(desk.state_dir)
    desk.reopen()
    with pytest.raises(StoreFailed, match="another process reads"):
        desk.commit(desk.letter(draft()))
    assert len(desk.rows("SELECT * FROM messages")) == 3  # what is there can be read meanwhile
    reader.close()
    desk.commit(desk.letter(draft()))
    assert len(desk.rows("SELECT * FROM messages")) == 4
    assert not lost_write_was_noted(desk.state_dir)
