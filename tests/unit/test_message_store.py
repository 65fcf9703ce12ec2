"""The store on a real database: what a commit promises, and what is reported again after a restart."""

from mailroomd.model.errors import Reason
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import FilesTaken
from mailroomd.protocol.operations import Acknowledged, Refused
from mailroomd.protocol.packets import NoteSeen, Outcome
from mailroomd.protocol.reports import MailboxCounted, StatesAdvanced
from mailroomd.storage.database.transactions import StoreFailed
from support.faults.failing import Failing, connect
from support.harness.storing import NOW_MS, Desk, answers, counted, done, draft, recounted

FILED, READ = DeliveryState.FILED, DeliveryState.READ


def test_a_commit_stores_commands_in_order_and_reports_counts_first(desk: Desk) -> None:
    commands = [desk.message(draft("a")), desk.message(draft("b")), desk.message(draft("a"))]
    result = desk.result(*commands)
    assert answers(result.outcomes) == [desk.sent(command) for command in commands]
    assert all(isinstance(outcome, MailboxCounted) for outcome in result.outcomes[:2])
    assert counted(result.outcomes) == {"a": (2, 2, commands[0].id), "b": (1, 1, commands[1].id)}
    assert [message.id for message in result.mail] == [command.id for command in commands]
    assert desk.store.mark("last_id") == commands[-1].last_id == commands[-1].id + 1


def test_last_id_counts_ids_of_every_kind_and_never_goes_back(desk: Desk) -> None:
    desk.commit(desk.message(draft()))
    desk.issue(10)
    desk.commit(desk.reading("abc"))
    assert desk.store.mark("last_id") == desk.last_id
    desk.commit(desk.sequenced(FilesTaken("abc", (1, 2, 3))))
    assert desk.store.mark("last_id") == desk.last_id
    desk.commit(NoteSeen("abc", NOW_MS))
    desk.reopen()
    assert desk.store.mark("last_id") == desk.last_id


def test_an_acknowledgement_marks_messages_read_and_names_unknown_ids(desk: Desk) -> None:
    first, second, other = (desk.message(draft(name)) for name in ("a", "a", "b"))
    desk.commit(first, second, other)
    read = desk.reading("a", first.id, other.id, 7)
    result = desk.result(read)
    assert answers(result.outcomes) == [Outcome(read.id, Acknowledged([first.id], [7, other.id]), ["dashboard"])]
    assert counted(result.outcomes) == {"a": (2, 1, second.id)}
    assert result.removed == [("a", [first.id])]
    assert desk.rows("SELECT state, read_ms FROM messages WHERE id = ?", first.id) == [(READ, NOW_MS)]


def test_an_acknowledgement_without_mail_creates_no_mailbox(desk: Desk) -> None:
    assert counted(desk.commit(desk.reading("nobody", 7))) == {}
    assert desk.rows("SELECT * FROM mailboxes") == []


def test_states_and_last_seen_times_only_move_forward(desk: Desk) -> None:
    first, second = desk.message(draft()), desk.message(draft())
    desk.commit(first, second)
    desk.commit(desk.reading("abc", second.id))
    offered = desk.offering("abc", first.id, second.id)
    outcomes = desk.lazily(offered, NoteSeen("abc", 9), NoteSeen("abc", 5))
    assert answers(outcomes) == [done(offered.id, "dashboard")]
    assert desk.rows("SELECT state FROM messages ORDER BY id") == [(DeliveryState.OFFERED,), (READ,)]
    assert desk.rows("SELECT total, unread, last_seen_ms FROM mailboxes") == [(2, 1, 9)]


def test_only_a_mailboxs_own_messages_are_offered(desk: Desk) -> None:
    first = desk.message(draft())
    desk.commit(first)
    outcomes = desk.commit(desk.offering("bcd", first.id))
    assert answers(outcomes) == [done(desk.last_id)]
    assert desk.rows("SELECT state FROM messages") == [(FILED,)]


def test_an_id_whose_transaction_failed_is_never_used_again(desk: Desk) -> None:
    failed, later = desk.message(draft()), desk.message(draft())
    desk.commit(later)
    (refused,) = answers(desk.commit(failed))
    assert isinstance(refused, Outcome)
    assert isinstance(refused.result, Refused)
    assert (refused.id, refused.result.reason) == (failed.id, Reason.STORAGE_FAILED)
    assert desk.rows("SELECT id FROM messages") == [(later.id,)]


def test_only_a_message_that_left_the_table_is_refused(desk: Desk) -> None:
    lost, good = desk.message(draft()), desk.message(draft())
    del desk.table[lost.id]
    refused, written = answers(desk.commit(lost, good))
    assert isinstance(refused, Outcome)
    assert isinstance(refused.result, Refused)
    assert written == desk.sent(good)


def test_any_text_comes_back_unchanged(desk: Desk) -> None:
    odd = draft(content="nul\0 quote' ☃ \u2028 end")
    command = desk.message(odd)
    desk.commit(command)
    stored = desk.store.files.message(command.id)
    assert stored is not None
    assert stored.draft == odd
    assert (stored.timestamp_ms, stored.state) == (NOW_MS + 5, FILED)


def test_recent_changes_are_reported_again_with_the_counts(desk: Desk) -> None:
    first, second, third = (desk.message(draft()) for _ in range(3))
    desk.commit(first, second, third)
    desk.store.files.record_unfiled({third.id: "no permission"})
    desk.now_ms += 5
    desk.commit(desk.sequenced(FilesTaken("abc", (first.id,))))
    assert desk.store.changed_since(NOW_MS + 6) == []
    repeated = desk.store.changed_since(NOW_MS)
    assert repeated == [
        StatesAdvanced(FILED, [second.id]),
        StatesAdvanced(READ, [first.id]),
        StatesAdvanced(DeliveryState.EXPIRED, []),
        MailboxCounted("abc", 3, 2, second.id),
    ]


def test_a_failing_statement_leaves_no_trace_in_file_or_memory(desk: Desk) -> None:
    kept = desk.message(draft("a"))
    desk.commit(kept)
    failures = 0
    for statement in range(1, 100):
        batch = [
            desk.message(draft("a"), f"k{statement}", client_key=True),
            desk.message(draft("b")),
            desk.reading("a", kept.id),
        ]
        real = desk.connection
        connect(desk.store, Failing(real, statement))
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


def test_a_repeated_request_is_recognized_even_if_its_record_left_the_table(desk: Desk) -> None:
    first = desk.message(draft(), "k", client_key=True)
    desk.commit(first)
    again = desk.message(draft(), "k", client_key=True)
    del desk.table[again.id]
    assert answers(desk.commit(again)) == [desk.repeated(again, first.id)]
