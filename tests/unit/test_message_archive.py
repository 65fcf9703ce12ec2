"""The archive reads pages that end at the mark and at their bounds, by the indexes that were made for them."""

from typing import Any

import pytest
from mailroomd.model.errors import MailroomError
from mailroomd.model.ids import MAX_ID, milliseconds_of
from mailroomd.model.message import Message
from mailroomd.model.message_filter import MessageFilter
from mailroomd.model.page import Page
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database import message_search, traffic
from mailroomd.storage.database.message_archive import MessageArchive
from support.harness.storing import NOW_MS, StoreHarness, draft


def test_pages_of_the_archive_end_at_the_mark(harness: StoreHarness) -> None:
    sent = [harness.message(draft("ab"[n % 2])) for n in range(20)]
    harness.commit(*sent)
    ids = [command.id for command in sent]
    archive = MessageArchive(harness.state_dir)
    mark = ids[9]
    assert [message.id for message in archive.after(None, ids[3], mark, 100)] == ids[4:10]
    assert [message.id for message in archive.after("a", ids[3], mark, 2)] == [ids[4], ids[6]]
    assert [message.id for message in archive.unread("b", 0, mark, 100, newest_first=True)] == ids[9:0:-2]
    assert [message.id for message in archive.before("a", ids[6], 2)] == [ids[4], ids[2]]
    assert [message.id for message in archive.newest(ids[5], 2)] == [ids[4], ids[3]]
    assert archive.last_id() == harness.last_id == sent[-1].last_id
    archive.close()


def test_a_page_ends_at_its_bounds_and_says_so(harness: StoreHarness) -> None:
    sent = [harness.message(draft("a", "x" * 100)) for _ in range(6)]
    harness.commit(*sent)
    archive = MessageArchive(harness.state_dir)

    def page(limit: int, budget_bytes: int) -> tuple[int, bool]:
        page = archive.after("a", 0, sent[-1].id, limit, budget_bytes)
        return len(page), page.is_cut

    assert [page(10, 10_000), page(6, 10_000), page(5, 10_000)] == [(6, False), (6, True), (5, True)]
    assert [page(10, 250), page(10, 1), page(10, 0), page(10, 600)] == [(3, True), (1, True), (1, True), (6, False)]
    archive.close()


def test_a_list_has_only_messages_of_its_sender_and_in_its_states(harness: StoreHarness) -> None:
    ids = harness.send(*[draft("ab"[n % 2], sender="xyz"[n % 3]) for n in range(12)])
    harness.commit(harness.reading("a", *ids[:6]))
    archive = MessageArchive(harness.state_dir)

    def found(mailbox: str | None, **wanted: Any) -> list[int]:
        page = archive.listed(mailbox, MAX_ID, 100, MessageFilter(**wanted))
        return [ids.index(message.id) for message in page]

    assert found(None, sender="x") == [9, 6, 3, 0]
    assert found("a", sender="x") == [6, 0]
    assert found("a", states=frozenset({DeliveryState.READ})) == [4, 2, 0]
    assert found(None, sender="y", states=frozenset({DeliveryState.READ})) == [4]
    assert found(None, sender="y", states=frozenset({DeliveryState.READ}), unread_only=True) == []
    assert found(None, states=frozenset()) == []
    assert found(None, query="go", sender="z", states=frozenset({DeliveryState.FILED})) == [11, 8, 5]
    archive.close()


def test_a_list_that_takes_too_long_returns_what_it_has_or_says_so(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.send(*[draft("a", sender="x" if n == 299 else "y") for n in range(300)])
    archive = MessageArchive(harness.state_dir)
    monkeypatch.setattr(message_search, "CHECK_EVERY_STEPS", 500)

    def found(states: frozenset[DeliveryState]) -> Page[Message]:
        return archive.listed("a", MAX_ID, 1000, MessageFilter(states=states), is_cancelled=lambda: True)

    with pytest.raises(MailroomError, match="timed out without a match"):
        found(frozenset({DeliveryState.READ}))
    page = found(frozenset({DeliveryState.FILED}))
    assert page.is_cut
    assert 0 < len(page) < 300
    whole = archive.listed("a", MAX_ID, 1000, MessageFilter(states=frozenset({DeliveryState.FILED})))
    assert len(whole) == 300, "the connection is good for the next one"
    archive.close()


def test_traffic_is_counted_by_sender_and_mailbox_since_a_time(harness: StoreHarness) -> None:
    ids = harness.send(*[draft("ab"[n % 2], sender="xyz"[n % 3]) for n in range(12)])
    archive = MessageArchive(harness.state_dir)
    counted = archive.traffic(0, harness.last_id)
    assert (counted.counts.total(), counted.since_ms) == (12, 0)
    assert counted.counts["x", "a"] == counted.counts["z", "b"] == 2
    assert archive.traffic(0, ids[5]).counts.total() == 6, "nothing above the mark"
    assert archive.traffic(milliseconds_of(ids[-1]) + 1, harness.last_id).counts.total() == 0
    archive.close()


def test_traffic_that_takes_too_long_says_how_far_it_reaches(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = harness.send(*[draft("a") for _ in range(10)])
    monkeypatch.setattr(traffic, "SLICE", 4)
    archive = MessageArchive(harness.state_dir)
    counted = archive.traffic(0, harness.last_id, lambda: True)
    assert (counted.counts.total(), counted.since_ms) == (4, milliseconds_of(ids[-4]))
    assert archive.traffic(0, harness.last_id).counts.total() == 10
    archive.close()


def test_the_queries_use_the_indexes_that_were_made_for_them(harness: StoreHarness) -> None:
    harness.commit(*[harness.message(draft("ab"[n % 2])) for n in range(50)])
    asked: list[str] = []
    archive = MessageArchive(harness.state_dir)
    archive._connection.set_trace_callback(asked.append)  # pyright: ignore[reportPrivateUsage]
    mark = harness.last_id

    def plan(ask: Any) -> str:
        asked.clear()
        ask()
        return "; ".join(str(row[3]) for sql in asked for row in harness.rows(f"EXPLAIN QUERY PLAN {sql}"))

    unread = "USING INDEX unread_of_mailbox (recipient=?"
    assert unread in plan(lambda: archive.unread("a", 5, mark, 10))
    assert unread in plan(lambda: archive.unread("a", 5, mark, 10, newest_first=True))
    assert unread in plan(lambda: archive.unread("a", 5, mark, 10, unoffered_only=True))
    assert unread in plan(lambda: archive.before("a", mark, 10, unread_only=True))
    assert "USING INDEX messages_of_mailbox (recipient=? AND id>? AND id<?)" in plan(
        lambda: archive.after("a", 5, mark, 10)
    )
    assert "USING INDEX messages_of_mailbox (recipient=? AND id<?)" in plan(lambda: archive.before("a", mark, 10))
    of_sender = MessageFilter(sender="x")
    assert "USING INDEX messages_of_sender (sender=? AND id<?)" in plan(
        lambda: archive.listed(None, mark, 9, of_sender)
    )
    assert "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plan(lambda: archive.traffic(0, mark))
    assert "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plan(lambda: archive.after(None, 5, mark, 10))
    assert "USING INTEGER PRIMARY KEY" in plan(lambda: archive.newest(mark, 10))
    for ask in (archive.mailboxes, lambda: archive.mailbox("a")):
        assert "SEARCH messages USING INDEX unread_of_mailbox (recipient=?)" in plan(ask)
    seen: list[str] = []
    harness.connection.set_trace_callback(seen.append)
    harness.store.files.filed_after("a", 5, 10)
    harness.store.files.unfiled()
    harness.store.forget_old(NOW_MS)
    harness.connection.set_trace_callback(None)
    plans = [
        str([row[3] for row in harness.rows(f"EXPLAIN QUERY PLAN {sql}")])
        for sql in seen
        if sql.startswith(("SELECT", "DELETE"))
    ]
    assert "unread_of_mailbox" in plans[0]
    assert "unfiled" in plans[1]
    assert not [plan for plan in plans if "SCAN messages'" in plan or "TEMP B-TREE" in plan], plans
    archive.close()


def test_the_named_states_match_the_conditions_of_the_partial_indexes(harness: StoreHarness) -> None:
    harness.commit(*[harness.message(draft("ab"[n % 2], ttl_ms=n)) for n in range(50)])
    statements: list[str] = []

    def plan(query: Any) -> str:
        statements.clear()
        harness.connection.set_trace_callback(statements.append)
        query()
        harness.connection.set_trace_callback(None)
        selects = [sql for sql in statements if sql.startswith("SELECT") and "messages" in sql]
        assert len(selects) == 1
        return str([row[3] for row in harness.rows(f"EXPLAIN QUERY PLAN {selects[0]}")])

    store = harness.store
    assert "USING INDEX ended" in plan(lambda: store.delete_ended(NOW_MS, 10, NOW_MS))
    assert "USING INDEX expiring" in plan(lambda: store.expired(NOW_MS, 10))
    assert "USING INDEX expiring" in plan(store.next_expiry_ms)
    assert "INDEX not_in_team_inbox" in plan(store.files.not_in_team_inbox)
    assert "USING INDEX unread_of_mailbox (recipient=?)" in plan(lambda: store.files.filed_in("a"))
