"""A key recognizes the request that was made under it before, for its time and for its sender only."""

from unittest.mock import Mock

import msgspec
import pytest
from mailroom.message_fields import FIELDS, MESSAGE_ID, NEVER, MessageField
from mailroomd.model.errors import Reason
from mailroomd.model.message import Draft
from mailroomd.model.request_digest import digest_function, digest_of
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.operations import Acknowledged, Refused, Sent
from mailroomd.protocol.packets import Command, Outcome
from mailroomd.protocol.reports import Report
from mailroomd.storage.database.request_keys import (
    CLIENT_KEYS_KEPT_MS,
    GATEWAY_KEYS_KEPT_MS,
    PRUNE_SLICE,
)
from support.harness.storing import NOW_MS, StoreHarness, answers, counted, done, draft

FILED, OFFERED, READ = DeliveryState.FILED, DeliveryState.OFFERED, DeliveryState.READ


def refusal_in(outcome: Outcome | Report, command: Command) -> Refused:
    """Returns why a command was refused."""
    assert isinstance(outcome, Outcome)
    assert outcome.id == command.id
    assert isinstance(outcome.result, Refused)
    return outcome.result


def test_the_same_key_and_request_is_stored_once_also_after_a_restart(harness: StoreHarness) -> None:
    first = harness.message(draft(), "k", client_key=True)
    harness.commit(first)
    for _ in range(2):
        again = harness.message(draft(), "k", client_key=True)
        result = harness.result(again)
        assert answers(result.outcomes) == [harness.repeated(again, first.id)]
        assert result.mail == []
        harness.reopen()
    assert harness.rows("SELECT count(*) FROM messages") == [(1,)]
    assert harness.store.mark("last_id") == harness.last_id


def test_the_same_key_twice_in_one_batch_is_stored_and_filed_once(harness: StoreHarness) -> None:
    first, again = (harness.message(draft(), "k", client_key=True) for _ in range(2))
    assert answers(harness.commit(first, again)) == [
        harness.sent(first),
        harness.repeated(again, first.id),
    ]
    assert counted(harness.commit(harness.message(draft())))["abc"][0] == 2


def test_a_key_is_its_senders_own(harness: StoreHarness) -> None:
    first, second = (harness.message(draft(sender=name), "k", client_key=True) for name in ("a", "b"))
    assert answers(harness.commit(first, second)) == [harness.sent(first), harness.sent(second)]


@pytest.mark.parametrize("together", [True, False])
def test_the_same_key_with_another_request_is_refused_and_the_batch_goes_on(
    harness: StoreHarness, together: bool
) -> None:
    first = harness.message(draft(content="one"), "k", client_key=True)
    other = harness.message(draft(content="two"), "k", client_key=True)
    last = harness.message(draft())
    outcomes = harness.commit(first, other, last) if together else harness.commit(first) + harness.commit(other, last)
    refused = refusal_in(answers(outcomes)[1], other)
    assert (refused.reason, refused.field, refused.retry_after_ms) == (
        Reason.IDEMPOTENCY_KEY_REUSED,
        "idempotency_key",
        0,
    )
    assert harness.rows("SELECT id FROM messages ORDER BY id") == [(first.id,), (last.id,)]


def test_a_repeated_request_gets_the_present_state_or_read_if_deleted(harness: StoreHarness) -> None:
    first = harness.message(draft(), "k", client_key=True)
    harness.commit(first)
    harness.commit(harness.reading("abc", first.id))
    again = harness.message(draft(), "k", client_key=True)
    assert answers(harness.commit(again)) == [harness.repeated(again, first.id, READ)]
    harness.connection.execute("DELETE FROM messages")  # retention
    again = harness.message(draft(), "k", client_key=True)
    assert answers(harness.commit(again)) == [harness.repeated(again, first.id, READ, is_deleted=True)]


def test_a_gateways_key_is_looked_up_only_where_the_request_was_sent_before(harness: StoreHarness) -> None:
    first = harness.message(draft(), "018-0-1")
    harness.commit(first)
    again = harness.message(draft(), "018-0-1", resubmitted=True)
    assert answers(harness.commit(again)) == [harness.repeated(again, first.id)]
    never_stored = harness.message(draft(), "018-0-2", resubmitted=True)
    assert answers(harness.commit(never_stored)) == [harness.sent(never_stored)]


def test_repeated_commands_get_the_outcomes_and_counts_of_their_rows(harness: StoreHarness) -> None:
    """The command-queue died after the commit, before it could report."""
    first, second = harness.message(draft("a")), harness.message(draft("b"))
    read, offered = harness.reading("a", first.id), harness.offering("b", second.id)
    harness.commit(first, second, read, offered)
    harness.commit(read)
    harness.reopen()
    outcomes = harness.commit(first, second, read, offered)
    assert answers(outcomes) == [
        harness.sent(first, READ),
        harness.sent(second, OFFERED),
        Outcome(read.id, Acknowledged([first.id], []), ["dashboard"]),  # which may not have received it
        done(offered.id),
    ]
    assert counted(outcomes) == {"a": (1, 0, 0), "b": (1, 1, second.id)}
    assert harness.result(first, second).mail == []


def test_a_refusal_holds_unless_the_request_was_committed_before(harness: StoreHarness) -> None:
    first = harness.message(draft(), "k", client_key=True)
    harness.commit(first)
    again, fresh = harness.message(draft(), "k", client_key=True), harness.message(draft(), "other", client_key=True)
    refusal = Refused(Reason.MAILBOX_FULL, "full", "recipient", 5)
    commands = [msgspec.structs.replace(command, refusal=refusal) for command in (again, fresh)]
    assert answers(harness.commit(*commands)) == [harness.repeated(again, first.id), Outcome(fresh.id, refusal)]
    assert harness.rows("SELECT key FROM idempotency_keys") == [("k",)]


def test_keys_are_forgotten_in_slices_after_their_time(harness: StoreHarness) -> None:
    time_ms = [NOW_MS - GATEWAY_KEYS_KEPT_MS - 1] * (PRUNE_SLICE + 10) + [NOW_MS - GATEWAY_KEYS_KEPT_MS + 1]
    harness.connection.execute("BEGIN")  # one fsync for all rows
    harness.connection.executemany(
        "INSERT INTO request_keys VALUES (?, 1)", [(f"{ms:011x}-0-{n}",) for n, ms in enumerate(time_ms)]
    )
    old_ms = NOW_MS - CLIENT_KEYS_KEPT_MS - 1
    harness.connection.executemany(
        "INSERT INTO idempotency_keys (sender, key, message_id, digest, used_ms) VALUES ('a', ?, 1 << 61, x'00', ?)",
        [(str(n), old_ms) for n in range(10)] + [("young", old_ms + 2)],
    )
    harness.connection.execute("COMMIT")
    assert harness.store.forget_old(NOW_MS)
    assert harness.rows("SELECT count(*) FROM request_keys") == [(11,)]
    assert not harness.store.forget_old(NOW_MS)
    assert harness.rows("SELECT count(*) FROM request_keys") == [(1,)]
    assert harness.rows("SELECT key FROM idempotency_keys") == [("young",)]


def test_digests_stay_those_of_the_databases_in_use(harness: StoreHarness) -> None:
    sample = Draft("bob", "amy", "text", "kind", b'{"a":1}', "thread", 5, 3, 60_000, verified=True)
    harness.commit(harness.message(sample, "k", client_key=True))
    assert harness.rows("SELECT hex(digest) FROM idempotency_keys") == [("D4F957A41774ECE732D36708B895C7AD",)]
    again = harness.message(msgspec.structs.replace(sample, verified=False), "k", client_key=True)
    (outcome,) = answers(harness.commit(again))
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.result, Sent)
    assert outcome.result.is_repeated


def test_a_later_field_is_part_of_the_digest_only_where_it_is_set() -> None:
    later = MessageField("later", MESSAGE_ID, since=99)
    drafts = [Mock(**msgspec.structs.asdict(draft()), later=value) for value in (0, 5, 6)]
    unused, five, six = map(digest_function([*FIELDS, later]), drafts)
    assert unused == digest_of(draft())
    assert len({unused, five, six}) == 3


@pytest.mark.parametrize(
    "field", [field.stored for field in FIELDS if field.digest != NEVER and field.name != "sender"]
)  # a key has one sender
def test_requests_that_differ_in_one_field_are_different(harness: StoreHarness, field: str) -> None:
    sample = draft()
    changed = {"metadata": b'{"a":1}'}.get(field, 3 if isinstance(getattr(sample, field), int) else "other")
    harness.commit(harness.message(sample, "k", client_key=True))
    other = harness.message(msgspec.structs.replace(sample, **{field: changed}), "k", client_key=True)
    (outcome,) = answers(harness.commit(other))
    assert refusal_in(outcome, other).reason == Reason.IDEMPOTENCY_KEY_REUSED
