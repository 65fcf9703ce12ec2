"""checker_steps — the promises about what follows a message, and about everything beside messages.

Receipts, missing answers, responses, team inboxes, expiry, clearing, aliases, the full-text index. Pure, like
`checker`, whose list of judges has these at its end.
"""

__all__ = ["STEP_JUDGES"]

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from support.faults.evidence import Evidence, Step, Stream
from support.faults.load_plan import CLEARED_MAILBOX, STEADY_SESSION, TEAM_MAILBOX

STORED, FILED, OFFERED, READ, EXPIRED, OVERDUE = 1, 2, 3, 4, 5, 6
NO_FIRST_RECEIPT = -1


def _steps_of(evidence: Evidence) -> list[tuple[Step, str]]:
    """Returns every receipt that there is, with its sender, in order: the rows, and those that messages stand for."""
    first = [
        (Step(number + 1, number, FILED if one.filed_id == number + 1 else STORED), one.sender)
        for number, one in evidence.messages.items()
        if one.filed_id != NO_FIRST_RECEIPT
    ]
    return sorted([*first, *evidence.receipts])


def _receipts_are_the_steps(evidence: Evidence) -> Iterator[str]:
    """Each message's receipts go forward, and the last one says how far it came; OVERDUE is no step of the message."""
    by_message: dict[int, list[int]] = defaultdict(list)
    for step, sender in _steps_of(evidence):
        if step.state != OVERDUE:
            by_message[step.message_id].append(step.state)
        stored = evidence.messages.get(step.message_id)
        if stored is not None and stored.sender != sender:
            yield f"receipts: one of {step.message_id:016x} belongs to {sender}, its sender is {stored.sender}"
    for number, states in by_message.items():
        stored = evidence.messages.get(number)
        if any(after <= before for before, after in pairwise(states)):
            yield f"receipts: the states of {number:016x} go {states}"
        if stored is not None and states[-1] != stored.state:
            yield f"receipts: the last one of {number:016x} says {states[-1]}, its state is {stored.state}"


def _streams_have_every_receipt(evidence: Evidence) -> Iterator[str]:
    steps = _steps_of(evidence)
    for stream in evidence.streams:
        if stream.receipts_of is None:
            yield from (f"receipts: {step} came to a stream that wanted none" for step in stream.receipts)
            continue
        end = max(stream.events, default=0)
        wanted = {
            step for step, sender in steps if stream.receipts_of in ("", sender) and stream.start < step.id <= end
        }
        saw = set(stream.receipts)
        for step in sorted(wanted - saw):
            yield f"receipts: the subscriber of {_name(stream)} missed {step.state} of {step.message_id:016x}"
        for step in sorted(saw - wanted):
            if not _may_be_unknown(evidence, step):
                yield f"receipts: the subscriber of {_name(stream)} saw {step}, which is not stored"
        yield from _states_go_forward(evidence, stream)


def _may_be_unknown(evidence: Evidence, step: Step) -> bool:
    """A first receipt goes with its message; an offer is the one step that is told before it is fsynced."""
    if step.id == step.message_id + 1:
        return step.message_id not in evidence.messages
    return evidence.had_power_cuts and step.state == OFFERED


def _states_go_forward(evidence: Evidence, stream: Stream) -> Iterator[str]:
    last: dict[int, int] = {}
    for step in stream.receipts:
        if step.state == OVERDUE:
            continue
        before = last.get(step.message_id, 0)
        is_repeated_offer = evidence.had_power_cuts and step.state == before == OFFERED
        if step.state <= before and not is_repeated_offer:
            yield f"receipts: {step.message_id:016x} went from {before} to {step.state} for {_name(stream)}"
        last[step.message_id] = step.state


def _missing_answers_are_told_once(evidence: Evidence) -> Iterator[str]:
    """Nobody answers in a load, so that each deadline ends with one receipt, also if its message is gone."""
    told = Counter(step.message_id for step, _ in evidence.receipts if step.state == OVERDUE)
    for number, count in told.items():
        if count > 1:
            yield f"overdue: the sender of {number:016x} was told {count} times"
    for number, has_deadline in {sent.id: sent.has_deadline for sent in evidence.sends}.items():
        if has_deadline and not told[number]:
            yield f"overdue: the sender of {number:016x} was not told"
        elif told[number] and not has_deadline:
            yield f"overdue: the sender of {number:016x} was told, and wanted no answer"


def _events_are_in_order(evidence: Evidence) -> Iterator[str]:
    for stream in evidence.streams:
        for before, after in pairwise(stream.events):
            if after <= before:
                yield f"stream: an event of {_name(stream)} came at {after:016x} after {before:016x}"


def _responses_are_taken_once(evidence: Evidence) -> Iterator[str]:
    taken = Counter((one.session, one.name, one.number) for one in evidence.responses)
    for one in evidence.left:
        if taken[one] == 0:
            yield f"responses: {one[0]}/{one[1]} was left and is not stored"
    for one, count in taken.items():
        if count > 1:
            yield f"responses: {one[0]}/{one[1]} is stored {count} times"
        if one not in evidence.leaving:
            yield f"responses: {one[0]}/{one[1]} is stored, and nobody left it"
    for session, name in evidence.outbox:
        yield f"responses: {session}/{name} still lies in the outbox"


def _streams_have_every_response(evidence: Evidence) -> Iterator[str]:
    for stream in evidence.streams:
        end = max(stream.events, default=0)
        wanted = {
            one for one in evidence.responses if stream.mailbox in (None, one.session) and stream.start < one.id <= end
        }
        for one, count in Counter(stream.responses).items():
            if count > 1 or one not in evidence.responses:
                yield f"responses: the subscriber of {_name(stream)} saw {one} {count} times"
        for one in sorted(wanted.difference(stream.responses)):
            yield f"responses: the subscriber of {_name(stream)} missed {one.session}/{one.name}"


def _team_inboxes_have_each_entry_once(evidence: Evidence) -> Iterator[str]:
    entries = Counter(evidence.team_entries.get(TEAM_MAILBOX, []))
    for number, count in entries.items():
        if count > 1:
            yield f"team inbox: {number:016x} is in it {count} times"
        if number not in evidence.messages:
            yield f"team inbox: {number:016x} is in it, and does not exist"
    for number, one in evidence.messages.items():
        if one.recipient == TEAM_MAILBOX and (one.team_error or not entries[number]):
            yield f"team inbox: {number:016x} is not in it ({one.team_error or 'no reason'})"


def _mail_expires_on_time(evidence: Evidence) -> Iterator[str]:
    now_ms = max((one.ended_ms for one in evidence.messages.values()), default=0)
    for number, one in evidence.messages.items():
        if one.state == EXPIRED and not one.expires_ms:
            yield f"expiry: {number:016x} expired, and has no time to live"
        elif one.state == EXPIRED and one.ended_ms < one.expires_ms:
            yield f"expiry: {number:016x} expired {one.expires_ms - one.ended_ms} ms too early"
        elif one.state < READ and 0 < one.expires_ms < now_ms - 5000:
            yield f"expiry: {number:016x} is past its time, and is not expired"


def _cleared_mail_stays_gone(evidence: Evidence) -> Iterator[str]:
    """Mail sent before an answered clearing began is gone; mail sent after all clearings is there."""
    answered = max((begun for begun, is_answered in evidence.clearings if is_answered), default=0.0)
    asked = max((begun for begun, _ in evidence.clearings), default=0.0)
    for sent in evidence.sends:
        if sent.recipient != CLEARED_MAILBOX:
            continue
        if sent.ended < answered and sent.id in evidence.messages:
            yield f"cleared: {sent.id:016x} was cleared away and is there"
        if sent.begun > asked + 30.0 and sent.id not in evidence.messages:
            yield f"cleared: {sent.id:016x} came after the last clearing and is gone"
    for number in evidence.cleared_files:
        yield f"cleared: the file of {number:016x} is still to be removed"


def _aliases_are_as_set(evidence: Evidence) -> Iterator[str]:
    for session, agent in dict(evidence.aliases_set).items():
        behind = evidence.aliases_asked[::-1]
        last_asked = next(one for one in behind if one[0] == session)[1]
        if evidence.aliases.get(session, "") not in (agent, last_asked):
            yield f"alias: {session} is {evidence.aliases.get(session) or 'nobody'}, it was set to {agent or 'nobody'}"
    agents = defaultdict[str, set[str]](set)
    for session, agent in evidence.aliases_asked:
        agents[session].add(agent or session)
    for sent in evidence.sends:
        allowed = agents.get(sent.to, set[str]()) | ({sent.to} if sent.to != STEADY_SESSION else set[str]())
        if sent.to and sent.recipient not in allowed:
            yield f"alias: {sent.id:016x} for {sent.to} went to {sent.recipient}"


def _the_index_is_its_content(evidence: Evidence) -> Iterator[str]:
    for said in evidence.index_faults:
        yield f"database: {said}"


def _name(stream: Stream) -> str:
    return stream.mailbox or "all mailboxes"


STEP_JUDGES = (
    _receipts_are_the_steps,
    _streams_have_every_receipt,
    _missing_answers_are_told_once,
    _events_are_in_order,
    _responses_are_taken_once,
    _streams_have_every_response,
    _team_inboxes_have_each_entry_once,
    _mail_expires_on_time,
    _cleared_mail_stays_gone,
    _aliases_are_as_set,
    _the_index_is_its_content,
)
