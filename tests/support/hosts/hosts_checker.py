"""hosts_checker — the promises of mail between hosts, checked over all of them once nothing is broken any more.

Owns the invariants, each under its own name. `judge` returns what is broken, as sentences that begin with that name.
Not here: collecting the evidence (`evidence`). Pure.
"""

__all__ = ["INVARIANTS", "judge"]

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from mailroomd.model.states import DeliveryState
from support.hosts.evidence import HostsEvidence, Row, Sent

STORED, FILED, OFFERED = DeliveryState.STORED, DeliveryState.FILED, DeliveryState.OFFERED
READ, EXPIRED, RETURNED = DeliveryState.READ, DeliveryState.EXPIRED, DeliveryState.RETURNED
MAY_FALL_BACK = {FILED, OFFERED}  # in a crash, OFFERED is forgotten (mailroomd.model.states)


def judge(evidence: HostsEvidence) -> list[str]:
    """Returns what is broken: "invariant: what and where"."""
    return [f"{name}: {said}" for name, check in INVARIANTS.items() for said in check(evidence)]


def _pairs(evidence: HostsEvidence) -> Iterator[tuple[Sent, Row | None, list[Row]]]:
    """Yields each accepted message, its row at its own host, and the rows at the other one."""
    arrived: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for name, host in evidence.hosts.items():
        for row in host.messages.values():
            arrived[name, row.recipient, row.content].append(row)
    for sent in evidence.sent:
        yield sent, evidence.hosts[sent.host].messages.get(sent.id), arrived[sent.to, sent.mailbox, sent.content]


def _kept(evidence: HostsEvidence) -> Iterator[str]:
    for sent, row, _ in _pairs(evidence):
        if not sent.is_undone and (row is None or row.content != sent.content):
            yield f"{sent.host} does not have {sent.content!r} any more, which it has accepted"


def _lost(evidence: HostsEvidence) -> Iterator[str]:
    for sent, row, arrived in _pairs(evidence):
        is_given_up = row is not None and row.state in (EXPIRED, RETURNED)
        if not (arrived or is_given_up or sent.is_undone):
            yield f"{sent.content!r} from {sent.host} is not in {sent.mailbox}:{sent.to}, and was not given up"


def _doubled(evidence: HostsEvidence) -> Iterator[str]:
    for sent, _, arrived in _pairs(evidence):
        if len(arrived) > 1:
            yield f"{sent.content!r} from {sent.host} is {len(arrived)} times in {sent.mailbox}:{sent.to}"


def _one_end(evidence: HostsEvidence) -> Iterator[str]:
    for sent, row, arrived in _pairs(evidence):
        if row is None or sent.is_rewound or not arrived:
            continue
        if row.state == RETURNED or (row.state == EXPIRED and arrived[0].state != EXPIRED):
            state = DeliveryState(row.state).name
            yield f"{sent.content!r} is {state} at {sent.host}, and in {sent.mailbox}:{sent.to}"


def _true_receipts(evidence: HostsEvidence) -> Iterator[str]:
    for sent, row, arrived in _pairs(evidence):
        if row is not None and not sent.is_undone and row.state in (FILED, OFFERED, READ) and not arrived:
            yield f"{sent.host} says that {sent.content!r} is {DeliveryState(row.state).name}, and {sent.to} has no row"


def _known_ends(evidence: HostsEvidence) -> Iterator[str]:
    for sent, row, arrived in _pairs(evidence):
        if row is None or sent.is_rewound or not arrived:
            continue
        if row.state != arrived[0].state and {row.state, arrived[0].state} != MAY_FALL_BACK:
            here, there = DeliveryState(row.state).name, DeliveryState(arrived[0].state).name
            yield f"{sent.content!r} is {here} for {sent.host}, and {there} at {sent.to}"


def _order(evidence: HostsEvidence) -> Iterator[str]:
    numbers = {(sent.host, sent.to, sent.content): sent.number for sent in evidence.sent}
    for name, host in evidence.hosts.items():
        last: dict[str, int] = {}
        for number, origin in sorted(host.origins.items()):
            row = host.messages.get(number)
            at = numbers.get((origin.host, name, row.content), -1) if row else -1
            if at < 0:
                continue  # nobody was told that it is accepted
            if at < last.get(origin.host, -1):
                yield f"message {at} of {origin.host} arrived at {name} behind its message {last[origin.host]}"
            last[origin.host] = at


def _emptied(evidence: HostsEvidence) -> Iterator[str]:
    for name, host in evidence.hosts.items():
        for other, count in host.queue.items():
            if count and other in evidence.hosts:
                yield f"{count} items wait at {name} for {other}"
    if evidence.at_hub:
        yield f"the hub holds {evidence.at_hub} batches"


def _steps(evidence: HostsEvidence) -> Iterator[str]:
    for name, host in evidence.hosts.items():
        reached: dict[int, int] = {}
        for message_id, state in host.receipts:
            before = reached.get(message_id, 0)
            if state <= before and state != DeliveryState.OVERDUE and not {state, before} <= MAY_FALL_BACK:
                steps = f"{DeliveryState(state).name} after {DeliveryState(before).name}"
                yield f"{name} says of message {message_id:016x} {steps}"
            reached[message_id] = max(state, before)


def _one_content(evidence: HostsEvidence) -> Iterator[str]:
    for name, host in evidence.hosts.items():
        for origin, times in Counter(host.origins.values()).items():
            if times > 1:
                yield f"{name} has stored {times} messages that {origin.host} sent as one, {origin.id:016x}"
        for number, origin in host.origins.items():
            sender, arrived = evidence.hosts.get(origin.host), host.messages.get(number)
            sent = sender.messages.get(origin.id) if sender else None
            departure = sender.departures.get(origin.id) if sender else None
            if sent and arrived and departure and departure.run == origin.run and sent.content != arrived.content:
                yield f"message {origin.id:016x} of {origin.host} has another content at {name}"


def _files(evidence: HostsEvidence) -> Iterator[str]:
    for name, host in evidence.hosts.items():
        unread = {
            (row.recipient, number, row.content)
            for number, row in host.messages.items()
            if row.state in (FILED, OFFERED) and number not in host.departures
        }
        for mailbox, number, _ in unread.difference(host.files):
            yield f"the file of message {number:016x} for {mailbox} on {name} is missing, or has another content"
        for mailbox, number, _ in set(host.files).difference(unread):
            yield f"the file {mailbox}/{number:016x}.json on {name} is that of no unread message"


def _local(evidence: HostsEvidence) -> Iterator[str]:
    yield from evidence.local_failures


def _whole(evidence: HostsEvidence) -> Iterator[str]:
    for name, host in evidence.hosts.items():
        for said in host.damage:
            yield f"the database of {name}: {said}"


INVARIANTS: dict[str, Callable[[HostsEvidence], Iterator[str]]] = {
    "what was accepted stays": _kept,
    "nothing is lost": _lost,
    "nothing is doubled": _doubled,
    "a message has one end": _one_end,
    "what is reported as filed is durable": _true_receipts,
    "its sender knows what became of it": _known_ends,
    "the order is that of the host": _order,
    "nothing waits any more": _emptied,
    "no step goes back": _steps,
    "a position has one content": _one_content,
    "files are those of the unread mail": _files,
    "mail of one host does not need the hub": _local,
    "databases are whole": _whole,
}
"""What holds, by its name."""
