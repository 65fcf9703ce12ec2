"""Checker — names the promises that were broken, from what everybody noted and what is there afterwards.

`gather` collects the evidence, `broken_promises` judges it, and does no input or output, so that it can be tested
itself with evidence that was tampered with. Here are the promises about messages; those about receipts, responses, team
inboxes, expiry, clearing, aliases and the index are in `checker_steps`.
"""

__all__ = ["Evidence", "Sent", "Stored", "Stream", "broken_promises", "gather"]

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

from support.faults.checker_steps import STEP_JUDGES
from support.faults.evidence import Evidence, Sent, Stored, Stream
from support.faults.gathering import gather
from support.faults.load_context import digest_of
from support.faults.load_plan import TAKEN_MAILBOX

MOST_EXAMPLES = 3  # of one broken promise; the rest is counted
READ, EXPIRED = 4, 5  # a smaller state is unread


def broken_promises(evidence: Evidence) -> list[str]:
    """Returns a sentence for each promise that was broken, with a few examples."""
    judges = (
        _clients_saw_no_trouble,
        _watcher_saw_whole_files_only,
        _acknowledged_sends_are_stored_once,
        _keys_never_get_two_ids,
        _nothing_is_stored_twice,
        _what_was_shown_is_stored,
        _commits_are_in_order,
        _streams_are_complete_and_in_order,
        _reading_is_recorded,
        _files_are_the_unread_mail,
        _counters_are_recounts,
        _table_agrees_with_the_database,
        *STEP_JUDGES,
    )
    return [sentence for judge in judges for sentence in _few(judge(evidence))]


def _few(sentences: Iterator[str]) -> list[str]:
    shown = list(islice(sentences, MOST_EXAMPLES))
    more = sum(1 for _ in sentences)
    return [*shown, f"... and {more} more of these"] if more else shown


def _clients_saw_no_trouble(evidence: Evidence) -> Iterator[str]:
    for said in evidence.troubles:
        yield f"trouble: {said}"


def _watcher_saw_whole_files_only(evidence: Evidence) -> Iterator[str]:
    for said in evidence.watched:
        yield f"inbox watcher: {said}"


def _acknowledged_sends_are_stored_once(evidence: Evidence) -> Iterator[str]:
    for sent in evidence.sends:
        stored = evidence.messages.get(sent.id)
        if stored is None:
            if not evidence.may_be_gone(sent.id, sent.recipient, sent.sender):
                yield f"lost: send {sent.key or 'without key'} was acknowledged as {sent.id:016x}, which does not exist"
        elif (stored.recipient, stored.sender, stored.digest) != (sent.recipient, sent.sender, sent.digest):
            yield f"changed: {sent.id:016x} is not what {sent.sender} sent"
        if sent.answered_digest != sent.digest:
            yield f"changed: the answer for {sent.id:016x} has another content than its request"
        if sent.key and evidence.keys.get((sent.sender, sent.key)) != sent.id:
            yield f"forgotten: the key {sent.key} of {sent.id:016x} is not in the database with it"
        if sent.state == 0:
            yield f"stateless: {sent.id:016x} was acknowledged in no state"


def _keys_never_get_two_ids(evidence: Evidence) -> Iterator[str]:
    known: dict[tuple[str, str], int] = {}
    for sent in evidence.sends:
        if sent.key and known.setdefault((sent.sender, sent.key), sent.id) != sent.id:
            yield f"doubled: key {sent.key} was acknowledged with two ids, {sent.id:016x} is one"
    shown = {number: mailbox for stream in evidence.streams for number, mailbox, _ in stream.messages}
    recipients = shown | {sent.id: sent.recipient for sent in evidence.sends}
    for key, number in evidence.keys.items():
        if number not in evidence.messages and not evidence.may_be_gone(number, recipients.get(number, ""), key[0]):
            yield f"half: key {key} belongs to {number:016x}, which does not exist"


def _nothing_is_stored_twice(evidence: Evidence) -> Iterator[str]:
    """Contents are unique in a load: each begins with its send's number; a broadcast has one for each recipient."""
    copied = evidence.broadcasts
    same = Counter((one.digest, one.recipient if one.digest in copied else "") for one in evidence.messages.values())
    for (digest, _), count in same.items():
        if count > 1:
            twins = [f"{number:016x}" for number, one in evidence.messages.items() if one.digest == digest]
            yield f"doubled: one send is stored {count} times, as {', '.join(twins)}"


def _what_was_shown_is_stored(evidence: Evidence) -> Iterator[str]:
    shown = [(number, mailbox, digest) for mailbox, number, digest in evidence.handed]
    for number, mailbox, digest in [*shown, *(one for stream in evidence.streams for one in stream.messages)]:
        stored = evidence.messages.get(number)
        if stored is None and evidence.may_be_gone(number, mailbox, ""):
            continue
        if stored is None or (stored.recipient, stored.digest) != (mailbox, digest):
            yield f"phantom: {number:016x} was shown to a reader of {mailbox} and is not stored so"


def _commits_are_in_order(evidence: Evidence) -> Iterator[str]:
    for before, after in pairwise(evidence.commits):
        if after <= before:
            yield f"disorder: {after:016x} was committed after {before:016x}"
    if evidence.commits:
        observed = set(evidence.commits)
        for number in sorted(evidence.messages):
            if evidence.commits[0] <= number <= evidence.commits[-1] and number not in observed:
                yield f"disorder: {number:016x} appeared in the database below an id that was there before"
    if evidence.messages and max(evidence.messages) > evidence.last_id:
        yield f"disorder: the mark last_id is {evidence.last_id:016x}, {max(evidence.messages):016x} is stored"


def _streams_are_complete_and_in_order(evidence: Evidence) -> Iterator[str]:
    for stream in evidence.streams:
        name = stream.mailbox or "all mailboxes"
        for (before, *_), (after, *_) in pairwise(stream.messages):
            if after <= before:
                yield f"stream: the subscriber of {name} saw {after:016x} after {before:016x}"
        saw = {number for number, *_ in stream.messages}
        for number, stored in evidence.messages.items():
            if number > stream.start and stream.mailbox in (None, stored.recipient) and number not in saw:
                yield f"stream: the subscriber of {name} missed {number:016x}"
        for number, mailbox, _ in stream.messages:
            if number <= stream.start or stream.mailbox not in (None, mailbox):
                yield f"stream: the subscriber of {name} saw {number:016x}, which it did not ask for"


def _reading_is_recorded(evidence: Evidence) -> Iterator[str]:
    for mailbox, number in evidence.acknowledged:
        stored = evidence.messages.get(number)
        if stored is None and evidence.may_be_gone(number, mailbox, ""):
            continue
        if stored is None or stored.recipient != mailbox or stored.state < READ:
            yield f"unread again: {number:016x} was acknowledged by {mailbox}, and is not read in the database"
    for number, stored in evidence.messages.items():
        if stored.state == READ and number not in evidence.asked:
            yield f"unread mail lost: {number:016x} of {stored.recipient} is marked read, and nobody read it"
    for number in evidence.took:
        stored = evidence.messages.get(number)
        is_there = (TAKEN_MAILBOX, f"{number:016x}.json") in evidence.files  # written again after a crash: the rule
        if stored is not None and stored.state < READ and not is_there:
            yield f"unread again: the file of {number:016x} was taken, and it is not read in the database"


def _files_are_the_unread_mail(evidence: Evidence) -> Iterator[str]:
    for number, stored in evidence.messages.items():
        raw = evidence.files.get((stored.recipient, f"{number:016x}.json"))
        if stored.state >= READ and raw is not None:
            yield f"file: {number:016x} is read and its file is still in {stored.recipient}"
        elif stored.state < READ and stored.file_error:
            yield f"file: {number:016x} could not be written to {stored.recipient}: {stored.file_error}"
        elif stored.state < READ and not _is_file_of(raw, number, stored):
            yield f"file: {number:016x} is unread and its file in {stored.recipient} is {(raw or b'missing')[:60]!r}"
    for mailbox, name in evidence.files:
        stem = name.removesuffix(".json")
        stored = evidence.messages.get(int(stem, 16)) if len(stem) == 16 else None
        if stored is None or stored.recipient != mailbox:
            yield f"file: {mailbox}/{name} belongs to no message of that mailbox"


def _is_file_of(raw: bytes | None, number: int, stored: Stored) -> bool:
    try:
        body: Any = json.loads(raw or b"")
    except ValueError:
        return False
    said = (body.get("id"), body.get("session_id"), body.get("from"), digest_of(body.get("content", "")))
    return said == (f"{number:016x}", stored.recipient, stored.sender, stored.digest)


def _counters_are_recounts(evidence: Evidence) -> Iterator[str]:
    total = Counter(one.recipient for one in evidence.messages.values())
    unread = Counter(one.recipient for one in evidence.messages.values() if one.state < READ)
    for name in {*evidence.counters, *total}:
        counted = (total[name], unread[name])
        if evidence.counters.get(name, (0, 0)) != counted:
            yield f"counters: {name} has (total, unread) {evidence.counters.get(name)}, a recount gives {counted}"


def _table_agrees_with_the_database(evidence: Evidence) -> Iterator[str]:
    for name in {*evidence.counters, *evidence.stats}:
        if evidence.stats.get(name, (0, 0)) != evidence.counters.get(name, (0, 0)):
            yield (
                f"table: {name} has (total, unread) {evidence.stats.get(name)} in shared memory, "
                f"{evidence.counters.get(name)} in the database"
            )
    for name, shown in evidence.first_unread.items():
        unread = sorted(
            number for number, one in evidence.messages.items() if one.recipient == name and one.state < READ
        )
        if shown != unread[: len(shown)] or (unread and not shown):
            yield f"table: CheckInbox for {name} gives {len(shown)} messages that are not its oldest unread ones"
