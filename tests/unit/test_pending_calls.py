"""Neither one client nor all clients with tokens can take the last room for pending calls."""

import pytest
from mailroomd.auth.caller import OWNER, Caller, Role
from mailroomd.gateway.pending_calls import MAX_CLIENT_BYTES, MAX_CLIENT_CALLS, OWNER_CALLS, PendingCalls
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_WAITING_CALLS


def client(index: int) -> Caller:
    return Caller(Role.AGENT, f"token {index}", f"agent-{index}")


def fill(pending: PendingCalls, caller: Caller) -> int:
    """Adds calls until one is refused; returns how many were added."""
    for count in range(MAX_WAITING_CALLS + 1):
        try:
            pending.check_room(caller, 0)
        except MailroomError:
            return count
        pending.add(caller.client, 0)
    raise AssertionError("never refused")


def test_one_client_leaves_room_for_another_and_for_the_owner() -> None:
    pending = PendingCalls()
    assert fill(pending, client(1)) == MAX_CLIENT_CALLS
    pending.check_room(client(2), 1)
    pending.check_room(OWNER, 1)
    with pytest.raises(MailroomError) as refused:
        pending.check_room(client(1), 1)
    assert (refused.value.reason, refused.value.retry_after_ms) == (Reason.TOO_MANY_WAITING, 500)


def test_all_clients_with_tokens_leave_room_for_the_owner() -> None:
    pending = PendingCalls()
    filled = sum(fill(pending, client(index)) for index in range(10))
    assert filled == MAX_WAITING_CALLS - OWNER_CALLS
    assert fill(pending, OWNER) == OWNER_CALLS


def test_the_bytes_of_one_client_are_bounded() -> None:
    pending = PendingCalls()
    pending.add("token 1", MAX_CLIENT_BYTES - 10)
    pending.check_room(client(1), 10)
    with pytest.raises(MailroomError, match="calls of this client"):
        pending.check_room(client(1), 11)


def test_a_client_that_has_ended_its_calls_has_its_whole_share_again() -> None:
    pending = PendingCalls()
    for _ in range(fill(pending, client(1))):
        pending.remove("token 1", 0)
    assert fill(pending, client(1)) == MAX_CLIENT_CALLS
