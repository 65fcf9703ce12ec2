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
from support.harness.storing import NOW_MS, Desk, answers, counted, done, draft, recounted

DAY_MS = 24 * 3600 * 1000


def ids(desk: Desk) -> list[int]:
    return [message_id for (message_id,) in desk.rows("SELECT id FROM messages ORDER BY id")]


# -- the sweep --------------------------------------------------------------------------------------------------------


def test_ended_mail_is_deleted_after_its_retention_and_unread_mail_never(desk: Desk) -> None:
    read, expired, offered, filed, unfiled = desk.send(*[draft()] * 5)
    desk.commit(desk.reading("abc", read), desk.sequenced(MailExpired((expired,))), desk.offering("abc", offered))
    desk.store.files.record_unfiled({unfiled: "no permission"})
    desk.pass_to(NOW_MS + DAY_MS)
    (young,) = desk.send(draft())
    desk.commit(desk.reading("abc", young))
    assert desk.store.delete_ended(NOW_MS + 5, 100, NOW_MS) == ([], []), "they are not older than that"
    deleted, outcomes = desk.store.delete_ended(NOW_MS + 6, 100, NOW_MS)
    assert deleted == [("abc", read), ("abc", expired)]
    assert answers(outcomes) == [StatesAdvanced(DeliveryState.VOIDED, [read, expired])]
    assert counted(outcomes) == recounted(desk) == {"abc": (4, 3, offered)}
    desk.store.delete_ended(NOW_MS + 1000 * DAY_MS, 100, NOW_MS)
    assert ids(desk) == [offered, filed, unfiled]
    assert counted(desk.commit(desk.reading("abc", offered))) == recounted(desk)


def test_the_sweep_goes_in_slices_of_many_small_or_few_large_messages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE_CHARS", 1000)
    numbers = desk.send(*[draft("ab"[n % 2], "x" * (400 if n >= 6 else 1)) for n in range(12)])
    desk.commit(desk.reading("a", *numbers[::2]), desk.reading("b", *numbers[1::2]))
    slices: list[list[int]] = []
    while deleted := desk.store.delete_ended(NOW_MS + 6, 4, NOW_MS)[0]:
        slices.append([message_id for _, message_id in deleted])
    assert slices == [numbers[:4], numbers[4:8], numbers[8:11], numbers[11:]]
    assert recounted(desk) == {}
    assert desk.rows("SELECT name, total, unread FROM mailboxes ORDER BY name") == [("a", 0, 0), ("b", 0, 0)]


def test_only_empty_mailboxes_of_agents_long_gone_are_forgotten(desk: Desk) -> None:
    (message_id,) = desk.send(draft("full"))
    desk.commit(*[NoteSeen(name, NOW_MS - DAY_MS) for name in ("full", "gone", "gone-too")], NoteSeen("here", NOW_MS))
    assert desk.store.forget_agents(NOW_MS, 1)
    assert desk.store.forget_agents(NOW_MS, 1)
    assert not desk.store.forget_agents(NOW_MS, 1)
    assert desk.rows("SELECT name FROM mailboxes ORDER BY name") == [("full",), ("here",)]
    desk.commit(desk.reading("full", message_id))
    desk.store.delete_ended(NOW_MS + 6, 10, NOW_MS)
    desk.store.forget_agents(NOW_MS, 10)
    assert counted(desk.commit(desk.message(draft("full"))))["full"][:2] == (1, 1), "a forgotten mailbox counts anew"


# -- expiry -----------------------------------------------------------------------------------------------------------


def test_unread_mail_expires_in_the_order_of_its_times(desk: Desk) -> None:
    late, early, never, read, unfiled = desk.send(*[draft(ttl_ms=ttl) for ttl in (900, 100, 0, 50, 300)])
    desk.commit(desk.reading("abc", read))
    desk.store.files.record_unfiled({unfiled: "no permission"})
    taken_in_ms = NOW_MS + 5
    assert desk.store.next_expiry_ms() == taken_in_ms + 100
    assert desk.store.expired(taken_in_ms + 99, 10) == []
    assert desk.store.expired(taken_in_ms + 100, 10) == [early]
    assert desk.store.expired(taken_in_ms + 10_000, 10) == [early, unfiled, late]
    assert desk.store.expired(taken_in_ms + 10_000, 2) == [early, unfiled]
    event = desk.sequenced(MailExpired((early, unfiled, late, read)))
    result = desk.result(event)
    assert answers(result.outcomes) == [
        StatesAdvanced(DeliveryState.EXPIRED, [early, unfiled, late]),
        done(event.id, "dashboard"),
    ]
    assert result.removed == [("abc", [early, unfiled, late])]
    assert counted(result.outcomes) == recounted(desk) == {"abc": (5, 1, never)}
    assert desk.store.next_expiry_ms() is None
    assert desk.store.files.unfiled() == [], "nobody tries its file again"


def test_expired_mail_is_reported_again_after_a_restart(desk: Desk) -> None:
    (message_id,) = desk.send(draft(ttl_ms=1))
    desk.now_ms += 5
    desk.commit(desk.sequenced(MailExpired((message_id,))))
    assert StatesAdvanced(DeliveryState.EXPIRED, [message_id]) in desk.store.changed_since(desk.now_ms)
    assert desk.rows("SELECT state, read_ms FROM messages") == [(DeliveryState.EXPIRED, desk.now_ms)]


# -- clearing ---------------------------------------------------------------------------------------------------------


def test_clearing_deletes_one_mailbox_up_to_an_id_in_slices(desk: Desk) -> None:
    numbers = desk.send(*[draft("a")] * 5)
    desk.send(draft("b"))
    (later,) = desk.send(draft("a"))
    desk.commit(desk.reading("a", numbers[0], numbers[3]))
    for deleted in (numbers[:3], numbers[3:], numbers[:0]):
        command = desk.clearing("a", numbers[-1], limit=3)
        result = desk.result(command)
        assert answers(result.outcomes) == [Outcome(command.id, Cleared(deleted, numbers[-1], has_more=bool(deleted)))]
        assert result.removed == [("a", deleted)]
        assert counted(result.outcomes).items() <= recounted(desk).items()
    assert recounted(desk) == {"a": (1, 1, later), "b": (1, 1, later - 2)}


def test_the_files_of_unread_mail_are_on_a_list_until_they_are_gone(desk: Desk) -> None:
    read, first, second = desk.send(*[draft("a")] * 3)
    desk.commit(desk.reading("a", read))
    desk.commit(desk.clearing("a", second))
    assert desk.store.files.cleared() == [("a", first), ("a", second)]
    desk.store.files.forget_cleared([first])
    desk.reopen()
    assert desk.store.files.cleared() == [("a", second)]


def test_a_clearing_that_was_interrupted_is_finished_by_the_recovery(desk: Desk, tmp_path: Path) -> None:
    root = tmp_path / "root"
    files = InboxFiles(root)
    filing = Filing(root, files, desk.store.files)
    commands = [desk.message(draft(name)) for name in "aab"]
    assert filing.file_mail(desk.result(*commands).mail, 0.0) == {}
    desk.commit(desk.clearing("a", desk.last_id))
    filing.close()
    desk.reopen()  # the crash: committed, but no file was removed
    report = recover_files(desk.store.files, files, 0, lambda: None)
    assert (report.removed, report.taken, report.errors) == (2, [], {})
    assert (files.list_ids("a"), files.list_ids("b")) == (set(), {commands[2].id})
    assert desk.store.files.cleared() == []
    files.close()


def test_a_file_of_a_cleared_mailbox_that_cannot_be_removed_stays_on_the_list(desk: Desk, tmp_path: Path) -> None:
    files = InboxFiles(tmp_path / "root")
    first, second = desk.send(draft("a"), draft("b"))
    desk.commit(desk.clearing("a", second), desk.clearing("b", second))
    (tmp_path / "root/inbox/a").mkdir()
    (tmp_path / f"root/inbox/a/{first:016x}.json").mkdir()
    assert recover_files(desk.store.files, files, 0, lambda: None).removed == 1
    assert desk.store.files.cleared() == [("a", first)]
    files.close()


# -- clocks -----------------------------------------------------------------------------------------------------------


def test_retention_follows_the_clock_and_not_the_ids_that_ran_ahead_of_it(desk: Desk) -> None:
    """A clock that was ahead once leaves the ids in the future for as long."""
    desk.last_id = (NOW_MS + 11 * 365 * DAY_MS) << 20
    read, unread = desk.send(draft(), draft())
    desk.commit(desk.message(draft(), "k", client_key=True), desk.reading("abc", read))
    desk.commit(desk.sequenced(ResponseLeft("s", "a.json", "1", b"{}"), "abc"))
    later_ms = NOW_MS + 2 * DAY_MS
    assert [message_id for _, message_id in desk.store.delete_ended(later_ms, 100, later_ms)[0]] == [read]
    while desk.store.forget_old(later_ms):
        pass
    assert unread in ids(desk)
    for table in ("idempotency_keys", "receipts", "responses"):
        assert desk.rows(f"SELECT * FROM {table}") == [], table


def test_first_receipts_of_ids_that_ran_ahead_are_kept_for_their_day_only(desk: Desk) -> None:
    desk.last_id = (NOW_MS + 365 * DAY_MS) << 20
    young, old = desk.send(draft("a"), draft("b"))
    desk.commit(desk.reading("a", young))
    desk.store.delete_ended(NOW_MS + 6, 100, NOW_MS)
    assert (young + 1,) in desk.rows("SELECT id FROM receipts")
    later_ms = NOW_MS + 2 * DAY_MS
    desk.commit(desk.reading("b", old))
    desk.store.delete_ended(later_ms, 100, later_ms)
    assert (old + 1,) not in desk.rows("SELECT id FROM receipts")


@pytest.mark.parametrize("state", [0, -1, 6, 77, "x", b"\x04"])
def test_a_state_that_does_not_exist_neither_expires_nor_ages(desk: Desk, state: object) -> None:
    damaged, whole = desk.send(*[draft(ttl_ms=10)] * 2)
    desk.rows("UPDATE messages SET state = ?, read_ms = 5 WHERE id = ?", state, damaged)
    later = NOW_MS + 1000 * DAY_MS
    assert desk.store.expired(later, 10) == [whole]
    desk.commit(desk.sequenced(MailExpired((damaged, whole))))
    assert desk.store.next_expiry_ms() is None, "nothing is left to wait for"
    assert desk.store.delete_ended(later, 10, later)[0] == [("abc", whole)]
    assert ids(desk) == [damaged]
    assert desk.result(desk.reading("abc", damaged)).removed == [("abc", [damaged])], "its recipient ends it"
    assert desk.rows("SELECT state FROM messages") == [(DeliveryState.READ,)]
    assert desk.rows("SELECT total, unread FROM mailboxes WHERE name = 'abc'") == [(1, 0)]
