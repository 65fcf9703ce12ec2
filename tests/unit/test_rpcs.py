"""The table of RPCs has one row for each RPC of the contract, and each row fits the contract and its method."""

from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest
from google.protobuf import message_factory
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.caller import OWNER
from mailroomd.gateway.access_page import access_table
from mailroomd.gateway.client_limits import ClientLimits, Limits
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.rpc import Rpc
from mailroomd.gateway.rpcs import RPCS, check_complete
from mailroomd.gateway.structs import encode_varint
from mailroomd.model.errors import MailroomError, Reason

PROJECT = Path(__file__).resolve().parents[2]
PARSED = [rpc for rpc in RPCS if rpc.parse is not None]


def test_every_rpc_has_exactly_one_row() -> None:
    check_complete(RPCS)


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.path)
def test_a_table_that_lacks_an_rpc_or_has_it_twice_is_refused(rpc: Rpc) -> None:
    siblings = [other for other in RPCS if other.service_name == rpc.service_name and other is not rpc]
    if siblings:
        with pytest.raises(ValueError, match=rpc.path):
            check_complete(siblings)
    with pytest.raises(ValueError, match=rpc.path):
        check_complete([*RPCS, rpc])


def test_a_service_of_the_contract_without_any_row_is_refused() -> None:
    with pytest.raises(ValueError, match=r"/mailroom\.v1\.SupervisorService/GetMetrics, .*GetStatus$"):
        check_complete(rpc for rpc in RPCS if rpc.service.name != "SupervisorService")


def test_a_row_for_an_rpc_that_the_contract_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        check_complete([*RPCS, replace(RPCS[0], name="SendMassage")])


@pytest.mark.parametrize("rpc", PARSED, ids=lambda rpc: rpc.name)
def test_a_row_parses_its_own_request_into_what_its_method_takes(rpc: Rpc) -> None:
    hints = get_type_hints(rpc.parse)
    takes = hints["request"]
    accepted = get_args(takes) if isinstance(takes, UnionType) else (takes,)
    assert message_factory.GetMessageClass(rpc.contract.input_type) in accepted
    method_hints = get_type_hints(rpc.method)
    first = next(name for name in method_hints if name not in ("call", "return"))
    assert hints["return"] == method_hints[first]


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.path)
def test_an_rpc_is_received_in_the_form_that_its_contract_has_on_the_wire(rpc: Rpc) -> None:
    contract: Any = message_factory.GetMessageClass(rpc.contract.input_type)
    fields = b"".join(
        bytes([field.number << 3 | 2]) + encode_varint(1) + b"x"
        for field in rpc.contract.input_type.fields
        if field.type == field.TYPE_STRING
    )
    assert rpc.request_type.FromString(fields).SerializeToString() == contract.FromString(fields).SerializeToString()


def test_new_work_and_nothing_else_is_refused_while_the_daemon_stops() -> None:
    nothing: Any = None
    guard = RequestGuard(nothing, ClientLimits(Limits(1, 9, 9, 1)), str, has_strangers=False)
    guard.is_stopping = True
    reasons = {rpc.name: reason_of(guard, rpc) for rpc in RPCS}
    new_work = {"SendMessage", "BroadcastMessage", "SendMessages", "Subscribe", "CheckInbox"}
    assert {name for name, reason in reasons.items() if reason == Reason.STOPPING} == new_work
    assert set(reasons.values()) == {Reason.STOPPING, ""}


def reason_of(guard: RequestGuard, rpc: Rpc) -> str:
    """Returns why the owner's request is not admitted; "" if it is."""
    try:
        with guard.admit(rpc, OWNER, rpc.request_type(), 0):
            return ""
    except MailroomError as error:
        return error.reason


def test_the_table_in_security_is_made_of_the_rows() -> None:
    assert access_table() in (PROJECT / "SECURITY.md").read_text()


@pytest.mark.parametrize(
    ("rpc", "request_message", "expected"),
    [
        ("SendMessage", pb.SendMessageRequest(content="x"), 1),
        ("SendMessage", pb.SendMessageRequest(content="x" * (40 << 10)), 3),
        ("SendMessages", pb.SendMessagesRequest(messages=[pb.SendMessageRequest(content="x")] * 10), 10),
        ("SendMessages", pb.SendMessagesRequest(messages=[pb.SendMessageRequest(content="x" * (40 << 10))] * 10), 35),
        (
            "BroadcastMessage",
            pb.BroadcastMessageRequest(message=pb.SendMessageRequest(content="x" * (40 << 10)), recipients=["a"] * 100),
            300,
        ),
    ],
)
def test_large_messages_count_for_several(rpc: str, request_message: Any, expected: int) -> None:
    row = next(row for row in RPCS if row.name == rpc)
    assert row.cost is not None
    assert row.cost(request_message, request_message.ByteSize()) == expected
