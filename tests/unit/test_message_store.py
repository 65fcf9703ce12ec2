"""The store on a real database: what a commit promises, and what is reported again after a restart."""

from mailroomd.model.errors import Reason
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import FilesTaken
from mailroomd.protocol.operations import Acknowledged, Refused
from mailroomd.protocol.packets import NoteSeen, Outcome
from mailroomd.protocol.reports import MailboxCounted, StatesAdvanced
from mailroomd.storage.database.transactions import StoreFailed
from support.faults.failing import Failing, connect
from support.harness.storing import NOW_MS, StoreHarness, answers, counted, done, draft, recounted

FILED, READ = DeliveryState.FILED, DeliveryState.READ


def test_a_commit_stores_commands_in_order_and_reports_counts_first(harness: StoreHarness) -> None:
    commands = [harness.message(draft("a")), harness.message(draft("b")), harness.message(draft("a"))]
    result = harness.result(*commands)
    assert answers(result.outcomes) == [harness.sent(command) for command in commands]
    assert all(isinstance(outcome, MailboxCounted) for outcome in result.outcomes[:2])
    assert counted(result.outcomes) == {"a": (2, 2, commands[0].id), "b": (1, 1, commands[1].id)}
    assert [message.id for message in result.mail] == [command.id for command in commands]
    assert harness.store.mark("last_id") == commands[-1].last_id == commands[-1].id + 1


def test_last_id_counts_ids_of_every_kind_and_never_goes_back(harness: StoreHarness) -> None:
    harness.commit(harness.message(draft()))
    harness.issue(10)
    harness.commit(harness.reading("abc"))
    assert harness.store.mark("last_id") == harness.last_id
    harness.commit(harness.sequenced(FilesTaken("abc", (1, 2, 3))))
    assert harness.store.mark("last_id") == harness.last_id
    harness.commit(NoteSeen("abc", NOW_MS))
    harness.reopen()
    assert harness.store.mark("last_id") == harness.last_id


def test_an_acknowledgement_marks_messages_read_and_names_unknown_ids(harness: StoreHarness) -> None:
    first, second, other = (harness.message(draft(name)) for name in ("a", "a", "b"))
    harness.commit(first, second, other)
    read = harness.reading("a", first.id, other.id, 7)
    result = harness.result(read)
    assert answers(result.outcomes) == [Outcome(read.id, Acknowledged([first.id], [7, other.id]), ["dashboard"])]
    assert counted(result.outcomes) == {"a": (2, 1, second.id)}
    assert result.removed == [("a", [first.id])]
    assert harness.rows("SELECT state, read_ms FROM messages WHERE id = ?", first.id) == [(READ, NOW_MS)]


def test_an_acknowledgement_in_the_recipients_place_says_by_whom(harness: StoreHarness) -> None:
    first, second = harness.message(draft("a")), harness.message(draft("a"))
    harness.commit(first, second)
    own, placed = harness.reading("a", first.id), harness.reading("a", first.id, second.id, by="ops")
    harness.commit(own, placed)
    columns = "SELECT message_id, acknowledged_by FROM receipts ORDER BY id"
    assert harness.rows(columns) == [(first.id, ""), (second.id, "ops")], "what was read before stays as it was"
    assert harness.rows("SELECT acknowledged_by FROM messages ORDER BY id") == [("",), ("ops",)]


def test_an_acknowledgement_without_mail_creates_no_mailbox(harness: StoreHarness) -> None:
    assert counted(harness.commit(harness.reading("nobody", 7))) == {}
    assert harness.rows("SELECT * FROM mailboxes") == []


def test_states_and_last_seen_times_only_move_forward(harness: StoreHarness) -> None:
    first, second = harness.message(draft()), harness.message(draft())
    harness.commit(first, second)
    harness.commit(harness.reading("abc", second.id))
    offered = harness.offering("abc", first.id, second.id)
    outcomes = harness.lazily(offered, NoteSeen("abc", 9), NoteSeen("abc", 5))
    assert answers(outcomes) == [done(offered.id, "dashboard")]
    assert harness.rows("SELECT state FROM messages ORDER BY id") == [(DeliveryState.OFFERED,), (READ,)]
    assert harness.rows("SELECT total, unread, last_seen_ms FROM mailboxes") == [(2, 1, 9)]


def test_only_a_mailboxs_own_messages_are_offered(harness: StoreHarness) -> None:
    first = harness.message(draft())
    harness.commit(first)
    outcomes = harness.commit(harness.offering("bcd", first.id))
    assert answers(outcomes) == [done(harness.last_id)]
    assert harness.rows("SELECT state FROM messages") == [(FILED,)]


def test_an_id_whose_transaction_failed_is_never_used_again(harness: StoreHarness) -> None:
    failed, later = harness.message(draft()), harness.message(draft())
    harness.commit(later)
    (refused,) = answers(harness.commit(failed))
    assert isinstance(refused, Outcome)
    assert isinstance(refused.result, Refused)
    assert (refused.id, refused.result.reason) == (failed.id, Reason.STORAGE_FAILED)
    assert harness.rows("SELECT id FROM messages") == [(later.id,)]


def test_only_a_message_that_left_the_table_is_refused(harness: StoreHarness) -> None:
    lost, good = harness.message(draft()), harness.message(draft())
    del harness.table[lost.id]
    refused, written = answers(harness.commit(lost, good))
    assert isinstance(refused, Outcome)
    assert isinstance(refused.result, Refused)
    assert written == harness.sent(good)


def test_any_text_comes_back_unchanged(harness: StoreHarness) -> None:
    odd = draft(content="nul\0 quote' ☃ \u2028 end")
    command = harness.message(odd)
    harness.commit(command)
    stored = harness.store.files.message(command.id)
    assert stored is not None
    assert stored.draft == odd
    assert (stored.timestamp_ms, stored.state) == (NOW_MS + 5, FILED)


def test_recent_changes_are_reported_again_with_the_counts(harness: StoreHarness) -> None:
    first, second, third = (harness.message(draft()) for _ in range(3))
    harness.commit(first, second, third)
    harness.store.files.record_unfiled({third.id: "no permission"})
    harness.now_ms += 5
    harness.commit(harness.sequenced(FilesTaken("abc", (first.id,))))
    assert harness.store.changed_since(NOW_MS + 6) == []
    repeated = harness.store.changed_since(NOW_MS)
    assert repeated == [
        StatesAdvanced(FILED, [second.id]),
        StatesAdvanced(READ, [first.id]),
        StatesAdvanced(DeliveryState.EXPIRED, []),
        MailboxCounted("abc", 3, 2, second.id),
    ]


def test_a_failing_statement_leaves_no_trace_in_file_or_memory(harness: StoreHarness) -> None:
    kept = harness.message(draft("a"))
    harness.commit(kept)
    failures = 0
    for statement in range(1, 100):
        batch = [
            harness.message(draft("a"), f"k{statement}", client_key=True),
            harness.message(draft("b")),
            harness.reading("a", kept.id),
        ]
        real = harness.connection
        connect(harness.store, Failing(real, statement))
        try:
            outcomes = harness.commit(*batch)
        except StoreFailed:
            failures += 1
            connect(harness.store, real)
            assert not real.in_transaction
            assert recounted(harness) == {"a": (1, 1, kept.id)}
            continue
        connect(harness.store, real)
        assert counted(outcomes) == recounted(harness)
        break
    assert failures > 10


def test_a_repeated_request_is_recognized_even_if_its_record_left_the_table(harness: StoreHarness) -> None:
    first = harness.message(draft(), "k", client_key=True)
    harness.commit(first)
    again = harness.message(draft(), "k", client_key=True)
    del harness.table[again.id]
    assert answers(harness.commit(again)) == [harness.repeated(again, first.id)]
