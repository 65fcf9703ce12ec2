"""Mail between hosts arrives exactly once and in order, whatever the hub, the hosts and their clocks do."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from mailroomd.core.forwarding.outgoing import Report
from support.forwarding.model_host import Database
from support.forwarding.model_world import ModelWorld

NAMES = ["a", "b", "c"]
indexes = st.integers(0, 20)


class Machine(RuleBasedStateMachine):
    """Any sequence of what people, hosts and hub can do."""

    hosts = 2

    @initialize()
    def begin(self) -> None:
        self.world = ModelWorld(NAMES[: self.hosts])
        self.backups: list[tuple[str, Database]] = []
        self.reports: list[tuple[str, str, Report]] = []

    def pair(self, index: int) -> tuple[str, str]:
        pairs = [(sender, recipient) for sender in self.world.hosts for recipient in self.world.hosts[sender].peers]
        return pairs[index % len(pairs)]

    def name(self, index: int) -> str:
        return NAMES[index % self.hosts]

    @rule(pair=indexes, messages=st.integers(1, 4))
    def send(self, pair: int, messages: int) -> None:
        for _ in range(messages):
            self.world.send(*self.pair(pair))

    @rule(pair=indexes, then=st.sampled_from(["nothing", "expire", "answer"]))
    def exchange(self, pair: int, then: str) -> None:
        """What usually happens, so that more of the steps are faults."""
        sender, recipient = self.pair(pair)
        self.world.send(sender, recipient)
        self.world.publish(sender, recipient)
        if then == "expire":
            self.world.expire(sender, recipient)
        for _ in self.world.hub[recipient][:]:
            self.world.deliver(recipient)
        if then == "answer":
            self.world.publish(recipient, sender)
            self.world.deliver(sender, -1)

    @rule(pair=indexes, copies=st.sampled_from([0, 1, 1, 1, 2]), is_accepted=st.booleans())
    def publish(self, pair: int, copies: int, is_accepted: bool) -> None:
        self.world.publish(*self.pair(pair), copies, is_accepted=is_accepted)

    @rule(name=indexes, index=indexes, limit=st.sampled_from([0, 1, 2, 100, 100]), stays=st.booleans())
    def deliver(self, name: int, index: int, limit: int, stays: bool) -> None:
        self.world.deliver(self.name(name), index, limit, stays=stays)

    @rule(name=indexes)
    def deliver_in_order(self, name: int) -> None:
        for _ in range(5):
            self.world.deliver(self.name(name))

    @rule(name=indexes, index=indexes)
    def hub_forgets_one(self, name: int, index: int) -> None:
        waiting = self.world.hub[self.name(name)]
        if waiting:
            del waiting[index % len(waiting)]

    @rule(name=indexes)
    def hub_forgets_everything(self, name: int) -> None:
        self.world.hub[self.name(name)].clear()

    @rule(pair=indexes, is_idle=st.booleans())
    def report(self, pair: int, is_idle: bool) -> None:
        sender, recipient = self.pair(pair)
        report = self.world.ask(sender, recipient, is_idle=is_idle)
        self.reports.append((sender, recipient, report))
        self.world.tell(sender, recipient, report)

    @rule(index=indexes)
    def old_report_arrives(self, index: int) -> None:
        if self.reports:
            self.world.tell(*self.reports[-1 - index % len(self.reports)])

    @rule(seconds=st.sampled_from([1.0, 20.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now_sec += seconds
        for host in self.world.hosts.values():
            host.clock += int(seconds)

    @rule(name=indexes, clock=st.integers(-50, 50))
    def clock_is_set(self, name: int, clock: int) -> None:
        self.world.hosts[self.name(name)].clock += clock

    @rule(pair=indexes)
    def expire(self, pair: int) -> None:
        self.world.expire(*self.pair(pair))

    @rule(pair=indexes, reads=st.booleans())
    def offer(self, pair: int, reads: bool) -> None:
        sender, recipient = self.pair(pair)
        self.world.hosts[recipient].offer(sender)
        if reads:
            self.world.hosts[recipient].read(sender)

    @rule(name=indexes)
    def crash(self, name: int) -> None:
        self.world.hosts[self.name(name)].crash()

    @rule(name=indexes)
    def lose_power(self, name: int) -> None:
        self.world.lose_power(self.name(name))

    @rule(name=indexes)
    def back_up(self, name: int) -> None:
        self.backups.append((self.name(name), self.world.hosts[self.name(name)].backup()))

    @rule(index=indexes, sends=st.booleans())
    def restore(self, index: int, sends: bool) -> None:
        if self.backups:
            name, backup = self.backups[-1 - index % len(self.backups)]
            self.world.restore(name, backup)
            if sends:
                self.world.send(name, self.world.hosts[name].peers[0])

    @rule(seed=indexes)
    def come_to_rest(self, seed: int) -> None:
        self.world.come_to_rest(seed)
        self.world.check_at_rest()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.come_to_rest()
            self.world.check_at_rest()


class ThreeHosts(Machine):
    """The same with three hosts."""

    hosts = 3


@pytest.mark.parametrize(("machine", "examples"), [(Machine, 150), (ThreeHosts, 60)])
def test_mail_arrives_exactly_once_and_in_order(machine: type[Any], examples: int) -> None:
    run_state_machine_as_test(  # pyright: ignore[reportUnknownMemberType]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
