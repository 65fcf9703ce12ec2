"""Mailroom beside a plain model of it: after any operations, table, database, files and answers agree.

A state machine sends, acknowledges, takes files, clears, lets mail expire, offers, and kills workers or everything;
after each step everything that the daemon returns and stores of these mailboxes is compared with the model.
MAILROOM_TEST_ROUNDS sets the number of examples.
"""

import sqlite3
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import rounds, wait_until

STEPS = 15
MAX_RESTARTS = 1  # of the whole daemon in one example: each takes a second or two
SHORT_TTL_SEC = 0.05

agents = st.sampled_from(["ann", "bob", "bob@alpha"])
picks = st.lists(st.integers(0, 30), min_size=1, max_size=4)


@dataclass
class ModelMessage:
    """A message in the model."""

    recipient: str
    content: str
    state: "pb.DeliveryState"

    @property
    def is_unread(self) -> bool:
        return self.state < pb.DELIVERY_STATE_READ


class DeploymentBesideItsModel(RuleBasedStateMachine):
    """Steps on a daemon that outlives the examples; each example has mailboxes of its own."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self.deployment = deployment
        bob = deployment.new_agent()
        self.names = {"ann": deployment.new_agent(), "bob": bob, "bob@alpha": f"{bob}@alpha"}
        self.messages: dict[str, ModelMessage] = {}
        self.restarts = 0

    def unread_of(self, mailbox: str) -> list[str]:
        return [number for number, entry in self.messages.items() if entry.recipient == mailbox and entry.is_unread]

    def picked(self, mailbox: str, which: list[int]) -> list[str]:
        unread = self.unread_of(mailbox)
        return sorted({unread[number % len(unread)] for number in which}) if unread else []

    @rule(name=agents, content=st.text(max_size=30))
    def send(self, name: str, content: str) -> None:
        sent = self.deployment.send(self.names[name], content, sender="model")
        assert sent.delivery.state == pb.DELIVERY_STATE_FILED
        self.messages[sent.message.id] = ModelMessage(self.names[name], content, pb.DELIVERY_STATE_FILED)

    @rule(name=agents)
    def send_what_expires(self, name: str) -> None:
        sent = self.deployment.send(self.names[name], "short-lived", sender="model", ttl_sec=SHORT_TTL_SEC).message.id
        wait_until(lambda: self.deployment.state(sent) == pb.DELIVERY_STATE_EXPIRED, "it expires")
        self.messages[sent] = ModelMessage(self.names[name], "short-lived", pb.DELIVERY_STATE_EXPIRED)

    @rule(name=agents, which=picks)
    def acknowledge(self, name: str, which: list[int]) -> None:
        ids = self.picked(self.names[name], which)
        assert sorted(self.deployment.acknowledge(self.names[name], ids).acknowledged_ids) == ids
        for number in ids:
            self.messages[number].state = pb.DELIVERY_STATE_READ

    @rule(name=agents, which=picks)
    def take_files(self, name: str, which: list[int]) -> None:
        ids = self.picked(self.names[name], which)
        for number in ids:
            self.deployment.inbox(self.names[name]).joinpath(f"{number}.json").unlink()
        for number in ids:
            wait_until(lambda number=number: self.deployment.state(number) == pb.DELIVERY_STATE_READ, "it is noticed")
            self.messages[number].state = pb.DELIVERY_STATE_READ

    @rule(name=agents)
    def check_inbox(self, name: str) -> None:
        found = self.deployment.check(self.names[name])
        assert [message.id for message in found.messages] == self.unread_of(self.names[name])
        for message in found.messages:
            self.messages[message.id].state = pb.DELIVERY_STATE_OFFERED

    @rule(name=agents)
    def clear(self, name: str) -> None:
        mailbox = self.names[name]
        mine = [number for number, entry in self.messages.items() if entry.recipient == mailbox]
        assert self.deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent=mailbox)).deleted == len(mine)
        for number in mine:
            del self.messages[number]

    @rule(worker=st.sampled_from(["mailbox", "command-queue", "gateway"]))
    def kill_a_worker(self, worker: str) -> None:
        self.deployment.kill_worker(worker)

    @precondition(lambda self: self.restarts < MAX_RESTARTS)
    @rule()
    def kill_everything(self) -> None:
        self.restarts += 1
        self.deployment.kill()
        self.deployment.start()

    @invariant()
    def everything_agrees(self) -> None:
        for mailbox in self.names.values():
            mine = {number: entry for number, entry in self.messages.items() if entry.recipient == mailbox}
            unread = self.unread_of(mailbox)
            expected = (len(mine), len(unread))
            wait_until(  # what nobody asked for is durable a moment before it is in the table
                lambda mailbox=mailbox, expected=expected: self.counts(mailbox) == expected, "the counts agree"
            )
            listed = self.deployment.listed(mailbox, page_size=1000)
            assert [(message.id, message.content) for message in listed] == [
                (number, entry.content) for number, entry in reversed(mine.items())
            ]
            assert [message.id for message in self.deployment.listed(mailbox, unread_only=True)] == unread[::-1]
            assert [message.id for message in self.deployment.check(mailbox, observe=True).messages] == unread
            wait_until(
                lambda mailbox=mailbox, unread=unread: self.deployment.filed(mailbox) == unread, "the files agree"
            )
            self.rows_agree(mailbox, mine)
            for message in listed:
                self.state_agrees(message)

    def counts(self, mailbox: str) -> tuple[int, int]:
        stats = self.deployment.stats(mailbox)
        return stats.total, stats.unread

    def state_agrees(self, message: pb.Message) -> None:
        """The states are equal, except that OFFERED may be FILED again after a crash."""
        expected = self.messages[message.id].state
        allowed = {expected}
        if expected == pb.DELIVERY_STATE_OFFERED:
            allowed.add(pb.DELIVERY_STATE_FILED)
        assert message.state in allowed, message

    def rows_agree(self, mailbox: str, mine: dict[str, ModelMessage]) -> None:
        connection = sqlite3.connect(f"file:{self.deployment.state_dir}/mailroom.db?mode=ro", uri=True)
        try:
            rows: list[Any] = connection.execute(
                "SELECT id, content, state >= 4 FROM messages WHERE recipient = ? ORDER BY id", (mailbox,)
            ).fetchall()
        finally:
            connection.close()
        assert [(f"{number:016x}", content, bool(over)) for number, content, over in rows] == [
            (number, entry.content, not entry.is_unread) for number, entry in mine.items()
        ]


@pytest.mark.timeout(1200)
def test_after_any_operations_table_database_files_and_answers_agree() -> None:
    with running_deployment("--max-restarts", "1000/10") as deployment:
        run_state_machine_as_test(
            cast("Any", lambda: DeploymentBesideItsModel(deployment)),
            settings=settings(
                max_examples=rounds(),
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
            ),
        )
