"""Ended mail is deleted after its retention, unread mail never; only its owner clears a mailbox, with its files."""

from pathlib import Path

import pytest
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.commands import MailboxCleared, MessagesExpired, MessagesRemoved, StepsWritten, WriteSeen
from mailroomd.protocol.local_events import MailExpired
from mailroomd.storage.database import retention
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.inbox.recovery import recover_files
from support.harness.storing import NOW_MS, Desk, answers, counted, draft, recounted

DAY_MS = 24 * 3600 * 1000


def ids(desk: Desk) -> list[int]:
    return [message_id for (message_id,) in desk.rows("SELECT id FROM messages ORDER BY id")]


# -- the sweep --------------------------------------------------------------------------------------------------------


def test_ended_mail_is_deleted_after_its_retention_and_unread_mail_never(desk: Desk) -> None:
    read, expired, offered, filed, unfiled = desk.send(*[draft()] * 5)
    desk.commit(desk.reading("abc", read), desk.found(MailExpired((expired,))), desk.offering("abc", offered))
    desk.store.files.note_unfiled({unfiled: "no permission"})
    desk.pass_to(NOW_MS + DAY_MS)
    (young,) = desk.send(draft())
    desk.commit(desk.reading("abc", young))
    assert desk.store.delete_ended(NOW_MS, 100, NOW_MS) == ([], []), "they are not older than that"
    deleted, outcomes = desk.store.delete_ended(NOW_MS + 1, 100, NOW_MS)
    assert deleted == [("abc", read), ("abc", expired)]
    assert answers(outcomes) == [MessagesRemoved([read, expired])]
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
    while deleted := desk.store.delete_ended(NOW_MS + 1, 4, NOW_MS)[0]:
        slices.append([message_id for _, message_id in deleted])
    assert slices == [numbers[:4], numbers[4:8], numbers[8:11], numbers[11:]]
    assert recounted(desk) == {}
    assert desk.rows("SELECT name, total, unread FROM mailboxes ORDER BY name") == [("a", 0, 0), ("b", 0, 0)]


def test_only_empty_mailboxes_of_agents_long_gone_are_forgotten(desk: Desk) -> None:
    (message_id,) = desk.send(draft("full"))
    desk.commit(*[WriteSeen(name, NOW_MS - DAY_MS) for name in ("full", "gone", "gone-too")], WriteSeen("here", NOW_MS))
    assert desk.store.forget_agents(NOW_MS, 1)
    assert desk.store.forget_agents(NOW_MS, 1)
    assert not desk.store.forget_agents(NOW_MS, 1)
    assert desk.rows("SELECT name FROM mailboxes ORDER BY name") == [("full",), ("here",)]
    desk.commit(desk.reading("full", message_id))
    desk.store.delete_ended(NOW_MS + 1, 10, NOW_MS)
    desk.store.forget_agents(NOW_MS, 10)
    assert counted(desk.commit(desk.letter(draft("full"))))["full"][:2] == (1, 1), "a forgotten mailbox counts anew"


# -- expiry -----------------------------------------------------------------------------------------------------------


def test_unread_mail_expires_in_the_order_of_its_times(desk: Desk) -> None:
    late, early, never, read, unfiled = desk.send(*[draft(ttl_ms=ttl) for ttl in (900, 100, 0, 50, 300)])
    desk.commit(desk.reading("abc", read))
    desk.store.files.note_unfiled({unfiled: "no permission"})
    taken_in_ms = NOW_MS + 5
    assert desk.store.next_expiry_ms() == taken_in_ms + 100
    assert desk.store.expired(taken_in_ms + 99, 10) == []
    assert desk.store.expired(taken_in_ms + 100, 10) == [early]
    assert desk.store.expired(taken_in_ms + 10_000, 10) == [early, unfiled, late]
    assert desk.store.expired(taken_in_ms + 10_000, 2) == [early, unfiled]
    event = desk.found(MailExpired((early, unfiled, late, read)))
    result = desk.result(found)
    assert answers(result.outcomes) == [MessagesExpired([early, unfiled, late]), StepsWritten(event.id, ["dashboard"])]
    assert result.removed == [("abc", [early, unfiled, late])]
    assert counted(result.outcomes) == recounted(desk) == {"abc": (5, 1, never)}
    assert desk.store.next_expiry_ms() is None
    assert desk.store.files.unfiled() == [], "nobody tries its file again"


def test_expired_mail_is_reported_again_after_a_restart(desk: Desk) -> None:
    (message_id,) = desk.send(draft(ttl_ms=1))
    desk.now_ms += 5
    desk.commit(desk.found(MailExpired((message_id,))))
    assert MessagesExpired([message_id]) in desk.store.changed_since(desk.now_ms)
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
        assert answers(result.outcomes) == [MailboxCleared(command.id, deleted, more=bool(deleted))]
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
    commands = [desk.letter(draft(name)) for name in "aab"]
    assert filing.file(desk.result(*commands).mail, 0.0) == {}
    desk.commit(desk.clearing("a", desk.last_id))
    filing.close()
    desk.reopen()  # the crash: committed, but no file was removed
    report = recover_files(desk.store.files, files, 0, lambda: None)
    assert (report.removed, report.taken, report.errors) == (2, [], {})
    assert (files.listing("a"), files.listing("b")) == (set(), {commands[2].id})
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
