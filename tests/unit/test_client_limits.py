"""One client cannot use up what belongs to all, and its usage is released however a call ends."""

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
    """A clock that the test advances."""

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


def test_a_client_that_sends_too_fast_is_told_when_to_retry(limits: ClientLimits, clock: Clock) -> None:
    limits.charge_messages(BOB, 50)
    with pytest.raises(MailroomError, match="more than 10 messages a second") as caught:
        limits.charge_messages(BOB, 1)
    assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.RATE_LIMITED, 100)
    limits.charge_messages(ALICE, 50)
    clock.now_sec += 0.1
    limits.charge_messages(BOB, 1)


def test_the_owner_may_send_at_any_rate(limits: ClientLimits) -> None:
    for _ in range(1000):
        limits.charge_messages(OWNER, 1000)


@pytest.mark.parametrize(("caller", "max_streams"), [(BOB, 2), (OWNER, 3)])
def test_streams_are_counted_for_each_client(limits: ClientLimits, caller: Caller, max_streams: int) -> None:
    with ExitStack() as stack:
        for _ in range(max_streams):
            stack.enter_context(limits.hold_stream(caller))
        refused = pytest.raises(MailroomError, match=f"already has {max_streams} open streams")
        with refused as caught, limits.hold_stream(caller):
            pass
        assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.TOO_MANY_STREAMS, 1000)
        with limits.hold_stream(ALICE):
            pass
    with limits.hold_stream(caller), limits.hold_stream(caller):
        pass


def test_bytes_in_flight_are_bounded_but_one_request_always_passes(limits: ClientLimits) -> None:
    with limits.hold_bytes(BOB, 5000):
        with pytest.raises(MailroomError, match="5,000 bytes") as caught, limits.hold_bytes(BOB, 1):
            pass
        assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.TOO_MANY_BYTES, 200)
        with limits.hold_bytes(ALICE, 1):
            pass
    with limits.hold_bytes(BOB, 500), limits.hold_bytes(BOB, 500):
        pass


def test_usage_is_released_when_a_call_fails(limits: ClientLimits) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), limits.hold_stream(BOB), limits.hold_bytes(BOB, 900):
            raise ZeroDivisionError


def test_idle_clients_are_forgotten_but_not_those_in_debt(
    limits: ClientLimits, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_limits, "MAX_IDLE_CLIENTS", 10)
    limits.charge_messages(BOB, 1000)
    clock.now_sec += 10
    with limits.hold_stream(ALICE):
        for index in range(100):
            with limits.hold_stream(Caller(Role.ANONYMOUS, f"ipv4:10.0.0.{index}")):
                pass
        assert len(limits._usage) <= 10  # pyright: ignore[reportPrivateUsage] - nothing public shows who is remembered
        with pytest.raises(MailroomError, match="messages a second"):
            limits.charge_messages(BOB, 1)
        with (
            limits.hold_stream(ALICE),
            pytest.raises(MailroomError, match="2 open streams"),
            limits.hold_stream(ALICE),
        ):
            pass


def test_calls_in_progress_and_unread_responses_are_bounded_for_each_client(limits: ClientLimits) -> None:
    usages = [limits.begin_call(BOB) for _ in range(client_limits.MAX_CLIENT_CALLS + LIMITS.streams)]
    with pytest.raises(MailroomError) as caught:
        limits.begin_call(BOB)
    assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.TOO_MANY_WAITING, 500)
    limits.begin_call(ALICE).release(None)
    for usage in usages[1:]:
        usage.release(None)
    usages[0].add_response(1001)
    with pytest.raises(MailroomError) as caught:
        limits.begin_call(BOB)
    assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.TOO_MANY_BYTES, 200)
    usages[0].release(None)
    limits.begin_call(BOB)


def test_streams_of_requests_are_fewer_than_streams(limits: ClientLimits) -> None:
    with limits.hold_request_stream(BOB):
        with (
            pytest.raises(MailroomError, match="1 open streams of requests") as caught,
            limits.hold_request_stream(BOB),
        ):
            pass
        assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.TOO_MANY_STREAMS, 1000)
        with limits.hold_stream(BOB), limits.hold_request_stream(ALICE):
            pass
    with limits.hold_request_stream(BOB):
        pass


def test_the_owner_may_have_as_many_streams_of_requests_as_streams(limits: ClientLimits) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(limits.hold_request_stream(OWNER))
