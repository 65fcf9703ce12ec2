"""Who may do what: each cell of RPC × role against a real daemon, and what becomes of tokens while it runs."""

import itertools
import os
import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.access import RULES
from mailroomd.auth.token_file import TokenFile
from support.harness.room import BOUND_SEC, Client, Room, connect, new_room, refusal_of, send_request, wait_until

NOW_MS = 1_700_000_000_000
SERVICES = [
    *pb.DESCRIPTOR.services_by_name.values(),
    *health_pb2.DESCRIPTOR.services_by_name.values(),
    *reflection_pb2.DESCRIPTOR.services_by_name.values(),
]
METHODS: dict[str, Any] = {method.name: method for service in SERVICES for method in service.methods}
METHODS.pop("List")  # of the health service, which does not have it yet
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
    "GetMailboxStats": (OK, OK, OK, FOREIGN, NOBODY),
    "GetQueueStats": (OK, OK, OK, FOREIGN, NOBODY),
    "SetAlias": (OK, OK, NEVER, NEVER, NOBODY),
    "ListAgents": (OK, OK, OK, OK, NOBODY),
    "GetStatus": (OK, OK, NEVER, NEVER, NOBODY),
    "GetMetrics": (OK, OK, NEVER, NEVER, NOBODY),
    "Check": (OK, OK, OK, OK, OK),
    "Watch": (OK, OK, OK, OK, OK),
    "ServerReflectionInfo": (OK, OK, OK, OK, NOBODY),
}


@dataclass
class Guarded:
    """A daemon on TCP, with tokens for bob, for carol (who is a stranger to bob's mail) and for an administrator."""

    room: Room
    tokens: TokenFile
    texts: dict[str, str] = field(default_factory=dict[str, str])
    bobs_mail: str = ""

    @property
    def tcp(self) -> str:
        return next(address for address in self.room.addresses if not address.startswith("unix:"))

    def client_of(self, role: str) -> Client:
        """Opens a channel in a role; the caller closes it."""
        if role == "owner":
            return Client(self.room.target)
        holder = {"admin": "", "own": "bob", "others": "carol", "nobody": None}[role]
        return Client(self.tcp, self.texts[holder] if holder is not None else "")

    def new_token(self, agent: str, ttl_ms: int = 0, made_ms: int = NOW_MS) -> str:
        return self.tokens.create(agent, made_ms, ttl_ms)[0]


@pytest.fixture(scope="module")
def guarded() -> Generator[Guarded]:
    with new_room("--listen", "127.0.0.1:0", "--client-streams", "3", "--client-rate", "200") as room:
        guarded = Guarded(room, TokenFile(room.state_dir))
        guarded.texts = {name: guarded.new_token(name) for name in ("", "bob", "carol")}
        room.start()
        guarded.bobs_mail = room.send("bob", "for bob alone", sender="alice").message.id
        yield guarded


@pytest.fixture
def bob(guarded: Guarded) -> Generator[Client]:
    with connect(guarded.tcp, guarded.texts["bob"]) as client:
        yield client


# -- the table --------------------------------------------------------------------------------------------------------


def test_the_table_has_exactly_one_row_for_each_rpc() -> None:
    assert set(RULES) == set(EXPECTED) == set(METHODS)


def requests(mail_id: str) -> dict[str, Message]:
    """Returns for each RPC a request that concerns bob."""
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
        "GetMailboxStats": pb.GetMailboxStatsRequest(agent="bob"),
        "GetQueueStats": pb.GetQueueStatsRequest(session_id="bob"),
        "SetAlias": pb.SetAliasRequest(agent="bob", session="a-session-of-bob"),
        "ListAgents": pb.ListAgentsRequest(),
        "GetStatus": pb.GetStatusRequest(),
        "GetMetrics": pb.GetMetricsRequest(),
        "Check": health_pb2.HealthCheckRequest(),
        "Watch": health_pb2.HealthCheckRequest(),
        "ServerReflectionInfo": reflection_pb2.ServerReflectionRequest(list_services=""),
    }


def outcome(client: Client, rpc: str, request: Message) -> str:
    """Returns the reason for which a call is refused, "" if it is answered."""
    method = METHODS[rpc]
    path = f"/{method.containing_service.full_name}/{rpc}"
    streams = (method.client_streaming, method.server_streaming)
    kind = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}[streams]
    call: Any = getattr(client.channel, kind)(path)
    raw = request.SerializeToString()
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
    guarded.bobs_mail = guarded.bobs_mail or guarded.room.send("bob", "again").message.id
    client = guarded.client_of(role)
    try:
        found = outcome(client, rpc, requests(guarded.bobs_mail)[rpc])
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


def test_an_alias_grants_an_agent_access_and_only_the_owner_can_set_it(guarded: Guarded, bob: Client) -> None:
    alias = pb.SetAliasRequest(agent="bob", session="session-of-bob")
    assert refusal_of(lambda: bob.check("session-of-bob")).reason == "NOT_YOURS"
    guarded.room.call("SetAlias", alias)
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
        guarded.room.call("SetAlias", pb.SetAliasRequest(agent="carol", session="zoe"))
        refusal = refusal_of(lambda: zoe.check("zoe"))
    assert refusal.reason == "NOT_YOURS"
    assert "not for zoe, a session of carol" in refusal.sentence


def test_a_bulk_request_with_one_foreign_sender_sends_nothing(guarded: Guarded, bob: Client) -> None:
    agent = guarded.room.new_agent()
    both = [send_request(agent, "x", sender="bob"), send_request(agent, "x", sender="carol")]
    refusal = refusal_of(lambda: bob.send_many(both))
    assert (refusal.reason, refusal.field) == ("NOT_YOURS", "messages.sender")
    assert guarded.room.stats(agent).total == 0


def test_a_message_exists_only_for_its_sender_and_its_recipient(guarded: Guarded, bob: Client) -> None:
    sent = bob.send("carol", "between us", sender="bob").message.id
    alien = guarded.room.send("alice", "none of their business", sender="dave").message.id
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
    wait_until(lambda: "call refused" in guarded.room.log(), "the operator can see that somebody tried")
    secrets = [wrong.split("_", 2)[2], *(text.split("_", 2)[2] for text in guarded.texts.values())]
    assert not any(secret in guarded.room.log() for secret in secrets)


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
    room, agent = guarded.room, guarded.room.new_agent()
    with connect(room.target, guarded.texts["bob"]) as bob, connect(guarded.tcp, guarded.texts[""]) as admin:
        stream = room.live(agent)
        proved = bob.send(agent, "by bob", sender="bob").message
        bulk = bob.send_many([send_request(agent, "by bob, too", sender="bob")])[0].ok.message
        copy = bob.broadcast([agent], pb.SendMessageRequest(sender="bob", content="a copy"))[0].ok.message
        owners = room.send(agent, "by the owner", sender="bob").message
        admins = admin.send(agent, "by an administrator", sender="bob").message
    sent = {message.id: message in (proved, bulk, copy) for message in (proved, bulk, copy, owners, admins)}
    assert {message.id: message.sender_verified for message in (proved, bulk, copy, owners, admins)} == sent
    assert {message.id: message.sender_verified for message in stream.messages(5)} == sent
    assert {message.id: message.sender_verified for message in room.check(agent).messages} == sent
    assert {message.id: message.sender_verified for message in room.listed(agent)} == sent
    assert {message_id: room.get(message_id).message.sender_verified for message_id in sent} == sent
    assert {message_id: room.file(agent, message_id).get("sender_verified", False) for message_id in sent} == sent
    room.kill_worker("mailbox")  # the table is filled from the database
    room.kill_worker("gateway")
    wait_until(lambda: room.status().workers, "somebody answers again")
    assert {message.id: message.sender_verified for message in room.listed(agent)} == sent
    assert {message_id: room.get(message_id).message.sender_verified for message_id in sent} == sent
    stream.cancel()


def test_verification_does_not_make_a_repeated_request_a_new_one(guarded: Guarded, bob: Client) -> None:
    agent = guarded.room.new_agent()
    first = bob.send(agent, "once", sender="bob", idempotency_key="one key").message.id
    assert guarded.room.send(agent, "once", sender="bob", idempotency_key="one key").message.id == first
    assert guarded.room.get(first).message.sender_verified


# -- tokens while the daemon runs -------------------------------------------------------------------------------------


def test_a_new_token_works_at_once_and_a_revoked_one_no_longer(guarded: Guarded) -> None:
    text, made = guarded.tokens.create("dora", NOW_MS)
    with connect(guarded.tcp, text) as dora:
        assert not dora.check("dora").messages
        guarded.tokens.revoke({made.id})
        refusal = refusal_of(lambda: dora.check("dora"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


def test_an_expired_token_is_refused_with_its_expiry_time(guarded: Guarded) -> None:
    with connect(guarded.tcp, guarded.new_token("dora", ttl_ms=1)) as dora:
        refusal = refusal_of(lambda: dora.check("dora"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
    assert "expired on 2023-11-14 22:13 UTC" in refusal.sentence


def test_revoking_a_token_ends_its_stream_before_the_next_message(guarded: Guarded) -> None:
    text, made = guarded.tokens.create("eve", NOW_MS)
    with connect(guarded.tcp, text) as eve:
        stream = eve.live("eve")
        guarded.tokens.revoke({made.id})
        sent = guarded.room.send("eve", "not for a thief").message.id
        refusal = refusal_of(stream.next)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    assert guarded.room.state(sent) == pb.DELIVERY_STATE_FILED  # it was not handed over


def test_a_token_is_checked_on_the_unix_socket_too(guarded: Guarded) -> None:
    with connect(guarded.room.target, guarded.texts["bob"]) as bob:
        assert refusal_of(lambda: bob.send("alice", sender="carol")).reason == "NOT_YOURS"
        assert bob.send("alice", sender="bob").message.id
    with connect(guarded.room.target, "mr_00000000_" + "x" * 43) as liar:
        assert refusal_of(lambda: liar.check("bob")).reason == "TOKEN_INVALID"


def test_with_a_damaged_token_file_only_the_unix_socket_works(guarded: Guarded, bob: Client) -> None:
    before = guarded.tokens.path.read_bytes()
    guarded.tokens.path.write_bytes(before[: len(before) // 2])
    try:
        refusal = refusal_of(lambda: bob.check("bob"))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_FAILED")
        assert refusal.retry_after_sec > 0
        assert guarded.room.check("bob", observe=True).messages is not None
    finally:
        guarded.tokens.path.write_bytes(before)
    bob.check("bob", observe=True)


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_flood_by_one_client_does_not_delay_another(guarded: Guarded) -> None:
    with connect(guarded.tcp, guarded.new_token("flo")) as flo, connect(guarded.tcp, guarded.new_token("gus")) as gus:
        batch = [send_request("sink", "x", sender="flo") for _ in range(1000)]
        flo.send_many(batch * 2)  # the second thousand passes on credit: five seconds' worth
        with suppress(grpc.RpcError):
            for _ in range(10):  # where the machine is slow, some of the credit has come back meanwhile
                flo.send("sink", sender="flo")
                flo.send_many(batch)
        refusal = refusal_of(lambda: flo.send("sink", sender="flo"))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert 0 < refusal.retry_after_sec <= 5.01
        assert gus.send("sink", sender="gus").message.id
        assert guarded.room.send("sink").message.id


def test_a_clients_open_streams_are_bounded_and_closed_ones_do_not_count(guarded: Guarded) -> None:
    with connect(guarded.tcp, guarded.new_token("hal")) as hal, connect(guarded.tcp, guarded.new_token("ida")) as ida:
        streams = [hal.live("hal") for _ in range(3)]
        refusal = refusal_of(lambda: hal.live("hal"))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
        assert refusal.retry_after_sec == 1
        assert refusal_of(lambda: hal.check("hal", wait_sec=20)).reason == "TOO_MANY_STREAMS"
        assert not hal.check("hal").messages
        ida.live("ida").cancel()
        streams.pop().cancel()

        def one_more() -> bool:
            try:
                streams.append(hal.live("hal"))
            except grpc.RpcError:
                return False
            return True

        wait_until(one_more, "there is room for another stream")
        for stream in streams:
            stream.cancel()


def test_anonymous_health_watchers_share_the_bound_of_one_client(guarded: Guarded) -> None:
    with ExitStack() as held, connect(guarded.tcp) as stranger:
        for _ in range(3):
            watching = stranger.watch_serving()
            held.callback(watching.close)
            assert next(watching)
        assert refusal_of(lambda: next(stranger.watch_serving())).reason == "TOO_MANY_STREAMS"
        assert stranger.is_serving()


def test_a_clients_bytes_in_flight_are_bounded() -> None:
    flags = ("--listen", "127.0.0.1:0", "--client-in-flight-size", "1MiB")
    with new_room(*flags) as room, ExitStack() as opened:
        text, _ = TokenFile(room.state_dir).create("bob", NOW_MS)
        room.start()
        tcp = next(address for address in room.addresses if not address.startswith("unix:"))
        client = opened.enter_context(connect(tcp, text))

        def send(index: int) -> str:
            try:
                return client.send("sink", "x" * 400_000, sender="bob", idempotency_key=str(index)).message.id
            except grpc.RpcError as error:
                failed = error
                return refusal_of(lambda: _raise(failed)).reason

        stopped = room.pid_of("command-queue")
        with room.stopped(stopped), ThreadPoolExecutor(4) as threads:
            sends = [threads.submit(send, index) for index in range(4)]
            wait_until(lambda: sum(future.done() for future in sends) == 2, "what is too much is refused at once")
            assert [future.result() for future in sends if future.done()] == ["TOO_MANY_BYTES"] * 2
            os.kill(stopped, signal.SIGCONT)
        assert sorted(future.result() == "TOO_MANY_BYTES" for future in sends) == [False, False, True, True]
        assert client.send("sink", "x" * 400_000, sender="bob").message.id


# -- the start --------------------------------------------------------------------------------------------------------


def refused_start(room: Room, *flags: str) -> tuple[int, str]:
    """Starts a daemon that is to refuse, and returns its exit code and its sentence."""
    with pytest.raises(AssertionError):
        room.start(*flags)
    return room.wait_for_end(), room.log()


def test_the_daemon_refuses_to_listen_on_tcp_without_a_token() -> None:
    with new_room("--listen", "127.0.0.1:0") as room:
        code, said = refused_start(room)
        assert code == 78
        assert f"mailroom token create --state-dir {room.state_dir} --agent NAME" in said
        tokens = TokenFile(room.state_dir)
        tokens.create("bob", NOW_MS, ttl_ms=1)
        assert refused_start(room)[0] == 78
        tokens.create("bob", NOW_MS)
        room.start()


def test_the_daemon_refuses_a_token_file_that_others_can_read() -> None:
    with new_room() as room:
        tokens = TokenFile(room.state_dir)
        tokens.create("bob", NOW_MS)
        tokens.path.chmod(0o644)
        code, said = refused_start(room)
        assert (code, "chmod 600 it" in said) == (78, True)
        tokens.path.chmod(0o600)
        room.start()


def test_everything_that_the_daemon_creates_is_private(guarded: Guarded) -> None:
    guarded.room.send("bob", "private")
    found = [path for top in (guarded.room.root, guarded.room.state_dir) for path in (top, *top.rglob("*"))]
    socket = Path(guarded.room.target.removeprefix("unix:"))
    found += [socket, socket.parent]
    assert len(found) > 8
    open_to_others = {str(path): oct(path.stat().st_mode) for path in found if path.lstat().st_mode & 0o077}
    assert not open_to_others
    workers = guarded.room.family()
    umasks = [
        (Path(f"/proc/{worker.pid}/status").read_text().split("Umask:\t")[1][:4], worker.pid) for worker in workers
    ]
    assert {umask for umask, _ in umasks} == {"0077"}


def test_no_secret_is_in_the_daemons_command_line_or_environment(guarded: Guarded) -> None:
    secrets = [text.split("_", 2)[2].encode() for text in guarded.texts.values()]
    for worker, file_name in itertools.product(guarded.room.family(), ("cmdline", "environ")):
        shown = Path(f"/proc/{worker.pid}/{file_name}").read_bytes()
        assert not any(secret in shown for secret in secrets)


def test_without_authentication_any_loopback_client_is_the_owner() -> None:
    with new_room("--listen", "127.0.0.1:0", "--auth", "off") as room:
        room.start()
        tcp = next(address for address in room.addresses if not address.startswith("unix:"))
        with connect(tcp) as client:
            assert client.status().version
            assert client.send("alice", sender="anybody").message.id
            assert client.stats("alice").total == 1
