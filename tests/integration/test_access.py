"""Every cell of the table RPC × role, checked against a real daemon; verified senders."""

from collections.abc import Generator
from typing import Any, cast

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.gateway.rpcs import RPCS
from support.harness.client import Client, connect, refusal_of, send_request
from support.harness.guarded import Guarded, guarded_deployment
from support.harness.waiting import BOUND_SEC, wait_until

SERVICES = [
    *pb.DESCRIPTOR.services_by_name.values(),
    *health_pb2.DESCRIPTOR.services_by_name.values(),
    *reflection_pb2.DESCRIPTOR.services_by_name.values(),
]
METHODS: dict[str, Any] = {method.name: method for service in SERVICES for method in service.methods}
METHODS.pop("List")  # of the health service, which does not have it yet
METHODS["ServerReflectionInfo, v1"] = METHODS["ServerReflectionInfo"]
ROLES = ("owner", "admin", "own", "others", "nobody")
OK, NOBODY, FOREIGN, NEVER = "", "TOKEN_MISSING", "NOT_YOURS", "ADMIN_ONLY"
EXPECTED = {  # in the order of ROLES
    "SendMessage": (OK, OK, OK, FOREIGN, NOBODY),
    "BroadcastMessage": (OK, OK, OK, FOREIGN, NOBODY),
    "SendMessages": (OK, OK, OK, FOREIGN, NOBODY),
    "Subscribe": (OK, OK, OK, FOREIGN, NOBODY),
    "CheckInbox": (OK, OK, OK, FOREIGN, NOBODY),
    "MarkOffered": (OK, OK, OK, FOREIGN, NOBODY),
    "AcknowledgeMessages": (OK, OK, OK, FOREIGN, NOBODY),
    "GetMessage": (OK, OK, OK, "MESSAGE_NOT_FOUND", NOBODY),
    "ListMessages": (OK, OK, OK, FOREIGN, NOBODY),
    "ClearMailbox": (OK, OK, OK, FOREIGN, NOBODY),
    "GetTraffic": (OK, OK, NEVER, NEVER, NOBODY),
    "GetMailboxStats": (OK, OK, OK, FOREIGN, NOBODY),
    "GetQueueStats": (OK, OK, OK, FOREIGN, NOBODY),
    "SetAlias": (OK, OK, NEVER, NEVER, NOBODY),
    "ListAgents": (OK, OK, OK, OK, NOBODY),
    "GetStatus": (OK, OK, NEVER, NEVER, NOBODY),
    "GetMetrics": (OK, OK, NEVER, NEVER, NOBODY),
    "Check": (OK, OK, OK, OK, OK),
    "Watch": (OK, OK, OK, OK, OK),
    "ServerReflectionInfo": (OK, OK, OK, OK, NOBODY),
    "ServerReflectionInfo, v1": (OK, OK, OK, OK, NOBODY),
}


@pytest.fixture(scope="module")
def guarded() -> Generator[Guarded]:
    with guarded_deployment() as guarded:
        yield guarded


@pytest.fixture
def bob(guarded: Guarded) -> Generator[Client]:
    with connect(guarded.tcp, guarded.texts["bob"]) as client:
        yield client


# -- the table --------------------------------------------------------------------------------------------------------


def test_the_table_has_exactly_one_row_for_each_rpc() -> None:
    assert set(EXPECTED) == set(METHODS)
    assert sorted(rpc.path for rpc in RPCS) == sorted(map(path_of, METHODS))


def path_of(rpc: str) -> str:
    """Returns the path of an RPC, by its name in the tables here."""
    name, _, version = rpc.partition(", ")
    service = METHODS[rpc].containing_service.full_name
    return f"/{service.replace('v1alpha', version or 'v1alpha')}/{name}"


@pytest.mark.parametrize("role", ["nobody", "liar"])
def test_every_method_of_every_service_asks_for_a_token_as_its_row_says(guarded: Guarded, role: str) -> None:
    rows = {rpc.path: rpc for rpc in RPCS}
    services = guarded.deployment.services()
    assert len(services) == 5
    with connect(guarded.tcp, guarded.texts["bob"][:-3] + "AAA" if role == "liar" else "") as client:
        for service in services:
            declared = service.replace("reflection.v1.", "reflection.v1alpha.")  # which has the same methods
            for method in cast("Any", descriptor_pool.Default().FindServiceByName(declared)).methods:
                path = f"/{service}/{method.name}"
                found = outcome(client, path, method, b"")
                if path not in rows:
                    assert (path, found) == ("/grpc.health.v1.Health/List", "UNIMPLEMENTED")
                elif role == "liar":
                    assert (path, found) == (path, "TOKEN_INVALID")
                else:
                    assert (path, found) == (path, OK if rows[path].rule.is_public else NOBODY)


def requests(mail_id: str) -> dict[str, Message]:
    """Returns a request about bob for each RPC."""
    message = send_request("alice", "x", sender="bob")
    return {
        "SendMessage": message,
        "BroadcastMessage": pb.BroadcastMessageRequest(
            recipients=["alice"], message=pb.SendMessageRequest(sender="bob", content="x")
        ),
        "SendMessages": pb.SendMessagesRequest(messages=[message]),
        "Subscribe": pb.SubscribeRequest(agent="bob", observe=True),
        "CheckInbox": pb.CheckInboxRequest(agent="bob", observe=True),
        "MarkOffered": pb.MarkOfferedRequest(agent="bob", message_ids=[mail_id]),
        "AcknowledgeMessages": pb.AcknowledgeMessagesRequest(agent="bob", message_ids=["0" * 15 + "1"]),
        "GetMessage": pb.GetMessageRequest(id=mail_id),
        "ListMessages": pb.ListMessagesRequest(agent="bob"),
        "ClearMailbox": pb.ClearMailboxRequest(agent="bob"),
        "GetTraffic": pb.GetTrafficRequest(),
        "GetMailboxStats": pb.GetMailboxStatsRequest(agent="bob"),
        "GetQueueStats": pb.GetQueueStatsRequest(session_id="bob"),
        "SetAlias": pb.SetAliasRequest(agent="bob", session="a-session-of-bob"),
        "ListAgents": pb.ListAgentsRequest(),
        "GetStatus": pb.GetStatusRequest(),
        "GetMetrics": pb.GetMetricsRequest(),
        "Check": health_pb2.HealthCheckRequest(),
        "Watch": health_pb2.HealthCheckRequest(),
        "ServerReflectionInfo": reflection_pb2.ServerReflectionRequest(list_services=""),
        "ServerReflectionInfo, v1": reflection_pb2.ServerReflectionRequest(list_services=""),
    }


def outcome(client: Client, path: str, method: Any, raw: bytes) -> str:
    """Returns the reason why a call is refused; "" if it is not."""
    streams = (method.client_streaming, method.server_streaming)
    kind = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}[streams]
    call: Any = getattr(client.channel, kind)(path)
    try:
        if not method.server_streaming:
            call(raw, timeout=BOUND_SEC)
            return ""
        answers = call(iter([raw]) if method.client_streaming else raw, timeout=BOUND_SEC)
        next(answers)
        answers.cancel()
    except grpc.RpcError as error:
        failed = error
        return refusal_of(lambda: _raise(failed)).reason or failed.code().name
    return ""


def _raise(error: grpc.RpcError) -> None:
    raise error


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("rpc", EXPECTED)
def test_each_role_may_do_what_the_table_allows_and_nothing_else(guarded: Guarded, rpc: str, role: str) -> None:
    guarded.bobs_mail = guarded.bobs_mail or guarded.deployment.send("bob", "again").message.id
    client = guarded.client_of(role)
    try:
        request = requests(guarded.bobs_mail)[rpc]
        found = outcome(client, path_of(rpc), METHODS[rpc], request.SerializeToString())
    finally:
        client.close()
    assert found == EXPECTED[rpc][ROLES.index(role)]
    if rpc == "ClearMailbox" and not found:
        guarded.bobs_mail = ""


@pytest.mark.parametrize(
    ("rpc", "request_for_all", "field"),
    [
        ("Subscribe", pb.SubscribeRequest(all_agents=True), "all_agents"),
        ("GetMailboxStats", pb.GetMailboxStatsRequest(), "agent"),
        ("ListMessages", pb.ListMessagesRequest(), "agent"),
        ("CheckInbox", pb.CheckInboxRequest(), "agent"),
    ],
)
def test_an_agent_cannot_read_all_mailboxes(bob: Client, rpc: str, request_for_all: Message, field: str) -> None:
    def call() -> object:
        answer = bob.call(rpc, request_for_all)
        return next(answer) if rpc == "Subscribe" else answer

    refusal = refusal_of(call)
    assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS", field)
    assert "for bob, not for every mailbox" in refusal.sentence


def test_an_agent_acknowledges_in_nobody_elses_name(guarded: Guarded, bob: Client) -> None:
    mail = guarded.deployment.send("bob", "by whom?").message.id
    refusal = refusal_of(lambda: bob.acknowledge("bob", [mail], by="carol"))
    assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS", "by")
    assert list(bob.acknowledge("bob", [mail], by="bob").acknowledged_ids) == [mail]
    assert {step.by for step in guarded.deployment.get(mail).history} == {""}, "that is bob itself"


def test_an_agent_clears_in_nobody_elses_name(guarded: Guarded, bob: Client) -> None:
    guarded.deployment.send("bob", "still here")
    clearing = pb.ClearMailboxRequest(agent="bob", by="carol")
    refusal = refusal_of(lambda: bob.call("ClearMailbox", clearing))
    assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS", "by")
    assert guarded.deployment.stats("bob").total > 0


def test_an_alias_grants_an_agent_access_and_only_the_owner_can_set_it(guarded: Guarded, bob: Client) -> None:
    alias = pb.SetAliasRequest(agent="bob", session="session-of-bob")
    assert refusal_of(lambda: bob.check("session-of-bob")).reason == "NOT_YOURS"
    guarded.deployment.call("SetAlias", alias)
    assert bob.send("carol", sender="session-of-bob").message.id
    assert bob.check("session-of-bob", observe=True) is not None
    with connect(guarded.tcp, guarded.texts["carol"]) as carol:
        assert refusal_of(lambda: carol.check("session-of-bob")).reason == "NOT_YOURS"
        assert refusal_of(lambda: carol.call("SetAlias", pb.SetAliasRequest(agent="carol", session="bob"))).reason == (
            "ADMIN_ONLY"
        )


def test_a_token_whose_name_became_another_agents_alias_opens_nothing(guarded: Guarded) -> None:
    with connect(guarded.tcp, guarded.new_token("zoe")) as zoe:
        assert not zoe.check("zoe").messages
        guarded.deployment.call("SetAlias", pb.SetAliasRequest(agent="carol", session="zoe"))
        refusal = refusal_of(lambda: zoe.check("zoe"))
    assert refusal.reason == "NOT_YOURS"
    assert "not for zoe, a session of carol" in refusal.sentence


def test_a_bulk_request_with_one_foreign_sender_sends_nothing(guarded: Guarded, bob: Client) -> None:
    agent = guarded.deployment.new_agent()
    both = [send_request(agent, "x", sender="bob"), send_request(agent, "x", sender="carol")]
    refusal = refusal_of(lambda: bob.send_many(both))
    assert (refusal.reason, refusal.field) == ("NOT_YOURS", "messages.sender")
    assert guarded.deployment.stats(agent).total == 0


def test_a_message_exists_only_for_its_sender_and_its_recipient(guarded: Guarded, bob: Client) -> None:
    sent = bob.send("carol", "between us", sender="bob").message.id
    alien = guarded.deployment.send("alice", "none of their business", sender="dave").message.id
    with connect(guarded.tcp, guarded.texts["carol"]) as carol:
        assert bob.get(sent).message.content == carol.get(sent).message.content == "between us"
        hidden = refusal_of(lambda: bob.get(alien))
        missing = refusal_of(lambda: bob.get("0" * 15 + "1"))
        assert (hidden.code, hidden.reason) == (missing.code, missing.reason)
        assert hidden.sentence.replace(alien, "") == missing.sentence.replace("0" * 15 + "1", "")


def test_refusals_say_what_to_do_and_reveal_no_token(guarded: Guarded) -> None:
    with connect(guarded.tcp) as nobody:
        refusal = refusal_of(lambda: nobody.check("bob"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    assert "mailroom token create" in refusal.sentence
    assert "MAILROOM_TOKEN_FILE" in refusal.sentence
    wrong = guarded.texts["bob"][:-3] + "AAA"
    with connect(guarded.tcp, wrong) as liar:
        refusal = refusal_of(lambda: liar.check("bob"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    assert wrong not in refusal.sentence
    wait_until(lambda: "call refused" in guarded.deployment.log(), "the operator can see that somebody tried")
    secrets = [wrong.split("_", 2)[2], *(text.split("_", 2)[2] for text in guarded.texts.values())]
    assert not any(secret in guarded.deployment.log() for secret in secrets)


@pytest.mark.parametrize(
    "header", ["Basic Ym9iOmJvYg==", "Bearer", "Bearer ", "mr_00000000_x", "Bearer " + "x" * 3000, "Bearer mr_1_2 3"]
)
def test_malformed_authorization_is_refused(guarded: Guarded, header: str) -> None:
    with connect(guarded.tcp) as client:
        call = cast("Any", client.channel.unary_unary("/mailroom.v1.MailboxService/CheckInbox"))
        refusal = refusal_of(
            lambda: call(
                pb.CheckInboxRequest(agent="bob").SerializeToString(),
                timeout=BOUND_SEC,
                metadata=[("authorization", header)],
            )
        )
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


# -- verified senders -------------------------------------------------------------------------------------------------


def test_a_sender_with_its_own_token_is_verified_in_every_view(guarded: Guarded) -> None:
    deployment, agent = guarded.deployment, guarded.deployment.new_agent()
    with connect(deployment.target, guarded.texts["bob"]) as bob, connect(guarded.tcp, guarded.texts[""]) as admin:
        stream = deployment.live(agent)
        proved = bob.send(agent, "by bob", sender="bob").message
        bulk = bob.send_many([send_request(agent, "by bob, too", sender="bob")])[0].ok.message
        copy = bob.broadcast([agent], pb.SendMessageRequest(sender="bob", content="a copy"))[0].ok.message
        owners = deployment.send(agent, "by the owner", sender="bob").message
        admins = admin.send(agent, "by an administrator", sender="bob").message
    sent = {message.id: message in (proved, bulk, copy) for message in (proved, bulk, copy, owners, admins)}
    assert {message.id: message.sender_verified for message in (proved, bulk, copy, owners, admins)} == sent
    assert {message.id: message.sender_verified for message in stream.messages(5)} == sent
    assert {message.id: message.sender_verified for message in deployment.check(agent).messages} == sent
    assert {message.id: message.sender_verified for message in deployment.listed(agent)} == sent
    assert {message_id: deployment.get(message_id).message.sender_verified for message_id in sent} == sent
    assert {message_id: deployment.file(agent, message_id).get("sender_verified", False) for message_id in sent} == sent
    deployment.kill_worker("mailbox")  # the table is filled from the database
    deployment.kill_worker("gateway")
    wait_until(lambda: deployment.status().workers, "somebody answers again")
    assert {message.id: message.sender_verified for message in deployment.listed(agent)} == sent
    assert {message_id: deployment.get(message_id).message.sender_verified for message_id in sent} == sent
    stream.cancel()


@pytest.mark.parametrize("is_verified", [True, False])
def test_a_repeated_request_says_whether_the_first_one_was_verified(
    guarded: Guarded, bob: Client, is_verified: bool
) -> None:
    agent = guarded.deployment.new_agent()
    callers = (bob, guarded.deployment) if is_verified else (guarded.deployment, bob)
    first, again = (caller.send(agent, "once", sender="bob", idempotency_key=agent).message for caller in callers)
    assert first.id == again.id
    assert (first.sender_verified, again.sender_verified) == (is_verified, is_verified)
    assert guarded.deployment.get(first.id).message.sender_verified == is_verified
