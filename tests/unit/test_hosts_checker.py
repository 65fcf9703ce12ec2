"""The checker of several hosts finds each fault that is planted into what three sound hosts have left behind."""

from collections.abc import Callable
from copy import deepcopy

import pytest
from mailroomd.model.states import DeliveryState
from support.hosts.evidence import Arrival, Departure, HostEvidence, HostsEvidence, Row, Sent
from support.hosts.hosts_checker import INVARIANTS, judge

FILED, OFFERED, READ = DeliveryState.FILED, DeliveryState.OFFERED, DeliveryState.READ
EXPIRED, RETURNED, STORED = DeliveryState.EXPIRED, DeliveryState.RETURNED, DeliveryState.STORED
ENDS = (FILED, READ, EXPIRED, RETURNED, FILED)  # of the messages of each pair of hosts
NAMES = ("a", "b", "c")
AT_A, AT_B = 1000, 100_001  # the first message from a to b, and its place there


def sound() -> HostsEvidence:
    """Returns what is left when every host has sent messages to each other, each with another end."""
    evidence = HostsEvidence(hosts={name: HostEvidence() for name in NAMES})
    for source in NAMES:
        for to in NAMES:
            if source != to:
                exchange(evidence, source, to)
    return evidence


def exchange(evidence: HostsEvidence, source: str, to: str) -> None:
    sender, recipient = evidence.hosts[source], evidence.hosts[to]
    for number, state in enumerate(ENDS):
        content = f"{source}{to}{number}"
        here, there = AT_A + len(sender.messages), 100_001 + len(recipient.messages)
        evidence.sent.append(Sent(source, to, "bob", content, number, here))
        sender.messages[here] = Row(f"bob:{to}", "amy", content, state)
        sender.departures[here] = Departure(to, 7)
        sender.receipts += [(here, FILED), (here, OFFERED), (here, state)] if state == READ else [(here, state)]
        if state == RETURNED:
            continue
        recipient.messages[there] = Row("bob", f"amy:{source}", content, state)
        recipient.origins[there] = Arrival(source, 7, here)
        if state == FILED:
            recipient.files.append(("bob", there, content))


def lose(evidence: HostsEvidence) -> None:
    del evidence.hosts["b"].messages[AT_B]


def double(evidence: HostsEvidence) -> None:
    evidence.hosts["b"].messages[999_999] = deepcopy(evidence.hosts["b"].messages[AT_B])


def forget_at_sender(evidence: HostsEvidence) -> None:
    del evidence.hosts["a"].messages[AT_A]


def return_what_arrived(evidence: HostsEvidence) -> None:
    evidence.hosts["a"].messages[AT_A].state = RETURNED


def expire_what_was_read(evidence: HostsEvidence) -> None:
    evidence.hosts["a"].messages[AT_A + 1].state = EXPIRED


def report_too_early(evidence: HostsEvidence) -> None:
    evidence.hosts["a"].messages[AT_A + 3].state = FILED  # it was returned: the other host has no row


def lose_a_receipt(evidence: HostsEvidence) -> None:
    evidence.hosts["a"].messages[AT_A].state = STORED


def swap(evidence: HostsEvidence) -> None:
    """The first and the last message of a change places at b."""
    host = evidence.hosts["b"]
    first, last = (number for number, row in host.messages.items() if row.content in ("ab0", "ab4"))
    messages, origins = host.messages, host.origins
    messages[first], messages[last] = messages[last], messages[first]
    origins[first], origins[last] = origins[last], origins[first]


def leave_waiting(evidence: HostsEvidence) -> None:
    evidence.hosts["c"].queue["a"] += 1


def leave_at_hub(evidence: HostsEvidence) -> None:
    evidence.at_hub = 1


def step_back(evidence: HostsEvidence) -> None:
    evidence.hosts["a"].receipts.append((AT_A + 1, OFFERED))


def repeat_a_step(evidence: HostsEvidence) -> None:
    evidence.hosts["a"].receipts.append((AT_A + 1, READ))


def store_under_one_position(evidence: HostsEvidence) -> None:
    origins = evidence.hosts["b"].origins
    origins[AT_B + 1] = origins[AT_B]


def change_the_content(evidence: HostsEvidence) -> None:
    evidence.hosts["b"].messages[AT_B].content = "another"


def lose_a_file(evidence: HostsEvidence) -> None:
    evidence.hosts["b"].files.pop()


def tear_a_file(evidence: HostsEvidence) -> None:
    mailbox, number, content = evidence.hosts["b"].files.pop()
    evidence.hosts["b"].files.append((mailbox, number, content[:-1]))


def leave_a_file(evidence: HostsEvidence) -> None:
    evidence.hosts["b"].files.append(("bob", AT_B + 1, "ab1"))


def file_at_the_sender(evidence: HostsEvidence) -> None:
    evidence.hosts["a"].files.append(("bob:b", AT_A, "ab0"))


def fail_locally(evidence: HostsEvidence) -> None:
    evidence.local_failures.append("a: UNAVAILABLE")


def damage(evidence: HostsEvidence) -> None:
    evidence.hosts["a"].damage.append("row 3 missing from index")


PLANTED: list[tuple[Callable[[HostsEvidence], None], str]] = [
    (forget_at_sender, "what was accepted stays"),
    (lose, "nothing is lost"),
    (lose, "what is reported as filed is durable"),
    (double, "nothing is doubled"),
    (return_what_arrived, "a message has one end"),
    (expire_what_was_read, "a message has one end"),
    (report_too_early, "what is reported as filed is durable"),
    (report_too_early, "nothing is lost"),
    (lose_a_receipt, "its sender knows what became of it"),
    (swap, "the order is that of the host"),
    (leave_waiting, "nothing waits any more"),
    (leave_at_hub, "nothing waits any more"),
    (step_back, "no step goes back"),
    (repeat_a_step, "no step goes back"),
    (store_under_one_position, "a position has one content"),
    (change_the_content, "a position has one content"),
    (lose_a_file, "files are those of the unread mail"),
    (tear_a_file, "files are those of the unread mail"),
    (leave_a_file, "files are those of the unread mail"),
    (file_at_the_sender, "files are those of the unread mail"),
    (fail_locally, "mail of one host does not need the hub"),
    (damage, "databases are whole"),
]


def test_three_sound_hosts_break_nothing() -> None:
    assert judge(sound()) == []


@pytest.mark.parametrize(("plant", "invariant"), PLANTED, ids=lambda one: getattr(one, "__name__", str(one)))
def test_a_planted_fault_is_found(plant: Callable[[HostsEvidence], None], invariant: str) -> None:
    evidence = sound()
    plant(evidence)
    assert invariant in {said.partition(":")[0] for said in judge(evidence)}


def test_each_invariant_has_a_planted_fault() -> None:
    assert {invariant for _, invariant in PLANTED} == set(INVARIANTS)


def test_what_a_restored_backup_has_undone_may_be_gone_but_not_doubled() -> None:
    evidence = sound()
    evidence.sent[0].is_undone = True
    lose(evidence)
    evidence.hosts["b"].files = [file for file in evidence.hosts["b"].files if file[1] != AT_B]
    assert judge(evidence) == []
    evidence = sound()
    evidence.sent[0].is_undone = True
    double(evidence)
    assert "nothing is doubled" in {said.partition(":")[0] for said in judge(evidence)}


def test_a_state_that_fell_back_in_a_crash_is_no_fault() -> None:
    evidence = sound()
    evidence.hosts["a"].messages[AT_A].state = OFFERED
    assert judge(evidence) == []
