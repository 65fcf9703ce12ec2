"""One client cannot take what belongs to all; what it took is given back however its call ends."""

from contextlib import ExitStack

import pytest
from mailroomd.auth.caller import OWNER, Caller, Role
from mailroomd.gateway import client_limits
from mailroomd.gateway.client_limits import ClientLimits, Limits
from mailroomd.model.errors import MailroomError, Reason

BOB = Caller(Role.AGENT, "token 1", "bob")
ALICE = Caller(Role.AGENT, "token 2", "alice")
LIMITS = Limits(rate_per_sec=10, streams=2, owner_streams=3, in_flight_bytes=1000)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now_sec = 100.0

    def __call__(self) -> float:
        return self.now_sec


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> ClientLimits:
    return ClientLimits(LIMITS, clock)


def test_who_sends_too_fast_is_told_when_to_come_back(limits: ClientLimits, clock: Clock) -> None:
    limits.take_messages(BOB, 50)
    with pytest.raises(MailroomError, match="more than 10 messages a second") as caught:
        limits.take_messages(BOB, 1)
    assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.RATE_LIMITED, 100)
    limits.take_messages(ALICE, 50)
    clock.now_sec += 0.1
    limits.take_messages(BOB, 1)


def test_the_owner_sends_as_fast_as_it_can(limits: ClientLimits) -> None:
    for _ in range(1000):
        limits.take_messages(OWNER, 1000)


@pytest.mark.parametrize(("caller", "most"), [(BOB, 2), (OWNER, 3)])
def test_streams_are_counted_for_each_client(limits: ClientLimits, caller: Caller, most: int) -> None:
    with ExitStack() as held:
        for _ in range(most):
            held.enter_context(limits.stream(caller))
        with pytest.raises(MailroomError, match=f"has {most} streams open") as caught, limits.stream(caller):
            pass
        assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.TOO_MANY_STREAMS, 1000)
        with limits.stream(ALICE):
            pass
    with limits.stream(caller), limits.stream(caller):
        pass


def test_bytes_under_way_are_bounded_and_one_request_always_passes(limits: ClientLimits) -> None:
    with limits.bytes(BOB, 5000):
        with pytest.raises(MailroomError, match="5,000 bytes") as caught, limits.bytes(BOB, 1):
            pass
        assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.TOO_MANY_BYTES, 200)
        with limits.bytes(ALICE, 1):
            pass
    with limits.bytes(BOB, 500), limits.bytes(BOB, 500):
        pass


def test_what_was_taken_comes_back_when_a_call_fails(limits: ClientLimits) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), limits.stream(BOB), limits.bytes(BOB, 900):
            raise ZeroDivisionError


def test_clients_that_went_away_are_forgotten_and_those_in_debt_are_not(
    limits: ClientLimits, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_limits, "MANY_CLIENTS", 10)
    limits.take_messages(BOB, 1000)
    clock.now_sec += 10
    with limits.stream(ALICE):
        for number in range(100):
            with limits.stream(Caller(Role.NOBODY, f"ipv4:10.0.0.{number}")):
                pass
        assert len(limits._uses) <= 10  # pyright: ignore[reportPrivateUsage] - nothing else shows what is remembered
        with pytest.raises(MailroomError, match="messages a second"):
            limits.take_messages(BOB, 1)
        with limits.stream(ALICE), pytest.raises(MailroomError, match="2 streams"), limits.stream(ALICE):
            pass
