"""Ended mail is deleted after its retention, unread mail never; only its owner clears a mailbox, with its files."""

from pathlib import Path

import pytest
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import MailExpired, ResponseLeft
from mailroomd.protocol.operations import Cleared
from mailroomd.protocol.packets import NoteSeen, Outcome
from mailroomd.protocol.reports import StatesAdvanced
from mailroomd.storage.database import retention
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.inbox.recovery import recover_files
from support.harness.storing import NOW_MS, StoreHarness, answers, counted, done, draft, recounted

DAY_MS = 24 * 3600 * 1000


def ids(harness: StoreHarness) -> list[int]:
    return [message_id for (message_id,) in harness.rows("SELECT id FROM messages ORDER BY id")]


# -- the sweep --------------------------------------------------------------------------------------------------------


def test_ended_mail_is_deleted_after_its_retention_and_unread_mail_never(harness: StoreHarness) -> None:
    read, expired, offered, filed, unfiled = harness.send(*[draft()] * 5)
    harness.commit(
        harness.reading("abc", read), harness.sequenced(MailExpired((expired,))), harness.offering("abc", offered)
    )
    harness.store.files.record_unfiled({unfiled: "no permission"})
    harness.pass_to(NOW_MS + DAY_MS)
    (young,) = harness.send(draft())
    harness.commit(harness.reading("abc", young))
    assert harness.store.delete_ended(NOW_MS + 5, 100, NOW_MS) == ([], []), "they are not older than that"
    deleted, outcomes = harness.store.delete_ended(NOW_MS + 6, 100, NOW_MS)
    assert deleted == [("abc", read), ("abc", expired)]
    assert answers(outcomes) == [StatesAdvanced(DeliveryState.VOIDED, [read, expired])]
    assert counted(outcomes) == recounted(harness) == {"abc": (4, 3, offered)}
    harness.store.delete_ended(NOW_MS + 1000 * DAY_MS, 100, NOW_MS)
    assert ids(harness) == [offered, filed, unfiled]
    assert counted(harness.commit(harness.reading("abc", offered))) == recounted(harness)


def test_the_sweep_goes_in_slices_of_many_small_or_few_large_messages(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE_CHARS", 1000)
    numbers = harness.send(*[draft("ab"[n % 2], "x" * (400 if n >= 6 else 1)) for n in range(12)])
    harness.commit(harness.reading("a", *numbers[::2]), harness.reading("b", *numbers[1::2]))
    slices: list[list[int]] = []
    while deleted := harness.store.delete_ended(NOW_MS + 6, 4, NOW_MS)[0]:
        slices.append([message_id for _, message_id in deleted])
    assert slices == [numbers[:4], numbers[4:8], numbers[8:11], numbers[11:]]
    assert recounted(harness) == {}
    assert harness.rows("SELECT name, total, unread FROM mailboxes ORDER BY name") == [("a", 0, 0), ("b", 0, 0)]


def test_only_empty_mailboxes_of_agents_long_gone_are_forgotten(harness: StoreHarness) -> None:
    (message_id,) = harness.send(draft("full"))
    harness.commit(
        *[NoteSeen(name, NOW_MS - DAY_MS) for name in ("full", "gone", "gone-too")], NoteSeen("here", NOW_MS)
    )
    assert harness.store.forget_agents(NOW_MS, 1)
    assert harness.store.forget_agents(NOW_MS, 1)
    assert not harness.store.forget_agents(NOW_MS, 1)
    assert harness.rows("SELECT name FROM mailboxes ORDER BY name") == [("full",), ("here",)]
    harness.commit(harness.reading("full", message_id))
    harness.store.delete_ended(NOW_MS + 6, 10, NOW_MS)
    harness.store.forget_agents(NOW_MS, 10)
    assert counted(harness.commit(harness.message(draft("full"))))["full"][:2] == (1, 1), (
        "a forgotten mailbox counts anew"
    )


# -- expiry -----------------------------------------------------------------------------------------------------------


def test_unread_mail_expires_in_the_order_of_its_times(harness: StoreHarness) -> None:
    late, early, never, read, unfiled = harness.send(*[draft(ttl_ms=ttl) for ttl in (900, 100, 0, 50, 300)])
    harness.commit(harness.reading("abc", read))
    harness.store.files.record_unfiled({unfiled: "no permission"})
    taken_in_ms = NOW_MS + 5
    assert harness.store.next_expiry_ms() == taken_in_ms + 100
    assert harness.store.expired(taken_in_ms + 99, 10) == []
    assert harness.store.expired(taken_in_ms + 100, 10) == [early]
    assert harness.store.expired(taken_in_ms + 10_000, 10) == [early, unfiled, late]
    assert harness.store.expired(taken_in_ms + 10_000, 2) == [early, unfiled]
    event = harness.sequenced(MailExpired((early, unfiled, late, read)))
    result = harness.result(event)
    assert answers(result.outcomes) == [
        StatesAdvanced(DeliveryState.EXPIRED, [early, unfiled, late]),
        done(event.id, "dashboard"),
    ]
    assert result.removed == [("abc", [early, unfiled, late])]
    assert counted(result.outcomes) == recounted(harness) == {"abc": (5, 1, never)}
    assert harness.store.next_expiry_ms() is None
    assert harness.store.files.unfiled() == [], "nobody tries its file again"


def test_expired_mail_is_reported_again_after_a_restart(harness: StoreHarness) -> None:
    (message_id,) = harness.send(draft(ttl_ms=1))
    harness.now_ms += 5
    harness.commit(harness.sequenced(MailExpired((message_id,))))
    assert StatesAdvanced(DeliveryState.EXPIRED, [message_id]) in harness.store.changed_since(harness.now_ms)
    assert harness.rows("SELECT state, read_ms FROM messages") == [(DeliveryState.EXPIRED, harness.now_ms)]


# -- clearing ---------------------------------------------------------------------------------------------------------


def test_clearing_deletes_one_mailbox_up_to_an_id_in_slices(harness: StoreHarness) -> None:
    numbers = harness.send(*[draft("a")] * 5)
    harness.send(draft("b"))
    (later,) = harness.send(draft("a"))
    harness.commit(harness.reading("a", numbers[0], numbers[3]))
    for deleted in (numbers[:3], numbers[3:], numbers[:0]):
        command = harness.clearing("a", numbers[-1], limit=3)
        result = harness.result(command)
        assert answers(result.outcomes) == [Outcome(command.id, Cleared(deleted, numbers[-1], has_more=bool(deleted)))]
        assert result.removed == [("a", deleted)]
        assert counted(result.outcomes).items() <= recounted(harness).items()
    assert recounted(harness) == {"a": (1, 1, later), "b": (1, 1, later - 2)}


def test_the_files_of_unread_mail_are_on_a_list_until_they_are_gone(harness: StoreHarness) -> None:
    read, first, second = harness.send(*[draft("a")] * 3)
    harness.commit(harness.reading("a", read))
    harness.commit(harness.clearing("a", second))
    assert harness.store.files.cleared() == [("a", first), ("a", second)]
    harness.store.files.forget_cleared([first])
    harness.reopen()
    assert harness.store.files.cleared() == [("a", second)]


def test_a_clearing_that_was_interrupted_is_finished_by_the_recovery(harness: StoreHarness, tmp_path: Path) -> None:
    root = tmp_path / "root"
    files = InboxFiles(root)
    filing = Filing(root, files, harness.store.files)
    commands = [harness.message(draft(name)) for name in "aab"]
    assert filing.file_mail(harness.result(*commands).mail, 0.0) == {}
    harness.commit(harness.clearing("a", harness.last_id))
    filing.close()
    harness.reopen()  # the crash: committed, but no file was removed
    report = recover_files(harness.store.files, files, 0, lambda: None)
    assert (report.removed, report.taken, report.errors) == (2, [], {})
    assert (files.list_ids("a"), files.list_ids("b")) == (set(), {commands[2].id})
    assert harness.store.files.cleared() == []
    files.close()


def test_a_file_of_a_cleared_mailbox_that_cannot_be_removed_stays_on_the_list(
    harness: StoreHarness, tmp_path: Path
) -> None:
    files = InboxFiles(tmp_path / "root")
    first, second = harness.send(draft("a"), draft("b"))
    harness.commit(harness.clearing("a", second), harness.clearing("b", second))
    (tmp_path / "root/inbox/a").mkdir()
    (tmp_path / f"root/inbox/a/{first:016x}.json").mkdir()
    assert recover_files(harness.store.files, files, 0, lambda: None).removed == 1
    assert harness.store.files.cleared() == [("a", first)]
    files.close()


# -- clocks -----------------------------------------------------------------------------------------------------------


def test_retention_follows_the_clock_and_not_the_ids_that_ran_ahead_of_it(harness: StoreHarness) -> None:
    """A clock that was ahead once leaves the ids in the future for as long."""
    harness.last_id = (NOW_MS + 11 * 365 * DAY_MS) << 20
    read, unread = harness.send(draft(), draft())
    harness.commit(harness.message(draft(), "k", client_key=True), harness.reading("abc", read))
    harness.commit(harness.sequenced(ResponseLeft("s", "a.json", "1", b"{}"), "abc"))
    later_ms = NOW_MS + 2 * DAY_MS
    assert [message_id for _, message_id in harness.store.delete_ended(later_ms, 100, later_ms)[0]] == [read]
    while harness.store.forget_old(later_ms):
        pass
    assert unread in ids(harness)
    for table in ("idempotency_keys", "receipts", "responses"):
        assert harness.rows(f"SELECT * FROM {table}") == [], table


def test_first_receipts_of_ids_that_ran_ahead_are_kept_for_their_day_only(harness: StoreHarness) -> None:
    harness.last_id = (NOW_MS + 365 * DAY_MS) << 20
    young, old = harness.send(draft("a"), draft("b"))
    harness.commit(harness.reading("a", young))
    harness.store.delete_ended(NOW_MS + 6, 100, NOW_MS)
    assert (young + 1,) in harness.rows("SELECT id FROM receipts")
    later_ms = NOW_MS + 2 * DAY_MS
    harness.commit(harness.reading("b", old))
    harness.store.delete_ended(later_ms, 100, later_ms)
    assert (old + 1,) not in harness.rows("SELECT id FROM receipts")


@pytest.mark.parametrize("state", [0, -1, 6, 77, "x", b"\x04"])
def test_a_state_that_does_not_exist_neither_expires_nor_ages(harness: StoreHarness, state: object) -> None:
    damaged, whole = harness.send(*[draft(ttl_ms=10)] * 2)
    harness.rows("UPDATE messages SET state = ?, read_ms = 5 WHERE id = ?", state, damaged)
    later = NOW_MS + 1000 * DAY_MS
    assert harness.store.expired(later, 10) == [whole]
    harness.commit(harness.sequenced(MailExpired((damaged, whole))))
    assert harness.store.next_expiry_ms() is None, "nothing is left to wait for"
    assert harness.store.delete_ended(later, 10, later)[0] == [("abc", whole)]
    assert ids(harness) == [damaged]
    assert harness.result(harness.reading("abc", damaged)).removed == [("abc", [damaged])], "its recipient ends it"
    assert harness.rows("SELECT state FROM messages") == [(DeliveryState.READ,)]
    assert harness.rows("SELECT total, unread FROM mailboxes WHERE name = 'abc'") == [(1, 0)]
