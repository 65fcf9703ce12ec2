"""Client — the contract through raw stubs: what a test asks, and how it is refused. The SDK takes no part.

Owns all that is untyped in generated code: tests see protobuf messages.
"""

__all__ = ["SERVICE", "Client", "Refusal", "Stream", "connect", "duration", "refusal_of", "send_request", "struct"]

import itertools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import grpc
from google.protobuf import duration_pb2, struct_pb2
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from mailroom.v1 import mailroom_pb2 as pb
from mailroom.v1 import mailroom_pb2_grpc
from support.harness.bearer import with_token
from support.harness.contract import events_of
from support.harness.waiting import BOUND_SEC

SERVICE = "/mailroom.v1.MailboxService/"

_mailbox_stub = cast("Callable[[grpc.Channel], Any]", mailroom_pb2_grpc.MailboxServiceStub)
_supervisor_stub = cast("Callable[[grpc.Channel], Any]", mailroom_pb2_grpc.SupervisorServiceStub)
_health_stub = cast("Callable[[grpc.Channel], Any]", health_pb2_grpc.HealthStub)
_reflection_stub = cast("Callable[[grpc.Channel], Any]", reflection_pb2_grpc.ServerReflectionStub)


@dataclass(frozen=True)
class Refusal:
    """An error as a client sees it, with its google.rpc details."""

    code: grpc.StatusCode
    reason: str
    domain: str
    field: str
    retry_after_sec: float
    sentence: str


def refusal_of(call: Callable[[], object]) -> Refusal:
    """Returns how a call is refused; it has to be."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return _refusal(error)
    raise AssertionError(f"was not refused, but answered {answer!s:.300}")


def _refusal(error: grpc.RpcError) -> Refusal:
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    status = status_pb2.Status()
    trailer = cast("dict[str, bytes]", dict(cast("Any", error).trailing_metadata() or ()))
    status.ParseFromString(trailer.get("grpc-status-details-bin", b""))
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(request) or detail.Unpack(retry)
    if status.details:
        assert status.code == error.code().value[0]
        assert status.message == error.details()
    return Refusal(
        error.code(),
        info.reason,
        info.domain,
        ",".join(one.field for one in request.field_violations),
        retry.retry_delay.ToTimedelta().total_seconds(),
        error.details() or "",
    )


class Stream:
    """One Subscribe stream, read event by event.

    Attributes:
        responses: how many events came in each response so far.
    """

    def __init__(self, call: Any, *, skips_receipts: bool = False) -> None:
        self.call = call
        self.responses: list[int] = []
        self._skips_receipts = skips_receipts
        self._events = self._split()

    def next(self) -> pb.SubscribeResponse:
        """Returns the next event; fails when the stream has ended."""
        return next(self._events)

    def messages(self, number: int) -> list[pb.Message]:
        """Returns the next messages; every other event on the way is a mistake."""
        found: list[pb.Message] = []
        while len(found) < number:
            event = self.next()
            assert event.WhichOneof("event") == "message", event
            assert event.event_id == event.message.id
            found.append(event.message)
        return found

    def until_caught_up(self) -> tuple[list[pb.Message], str]:
        """Returns the messages before CaughtUp, and its last_id."""
        found: list[pb.Message] = []
        while (event := self.next()).WhichOneof("event") == "message":
            found.append(event.message)
        assert event.WhichOneof("event") == "caught_up", event
        assert event.event_id == event.caught_up.last_id
        return found, event.caught_up.last_id

    def rest(self) -> list[pb.SubscribeResponse]:
        """Returns all events up to the end of the stream, which has to be a good one."""
        events = list(self._events)
        assert self.call.code() is grpc.StatusCode.OK
        return events

    def cancel(self) -> None:
        self.call.cancel()

    def _split(self) -> Generator[pb.SubscribeResponse]:
        for response in cast("Iterable[pb.SubscribeResponse]", self.call):
            events = events_of(response)
            self.responses.append(len(events))
            for event in events:
                if not (self._skips_receipts and event.WhichOneof("event") == "receipt"):
                    yield event


class Client:
    """One channel with the raw stubs on it.

    Args:
        token: what each call shows, "" for nothing.
        tls: what the daemon is known by, None for no TLS.
        more_options: of the channel.
    """

    def __init__(
        self,
        target: str,
        token: str = "",
        tls: grpc.ChannelCredentials | None = None,
        more_options: Sequence[tuple[str, int]] = (),
    ) -> None:
        options = (
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", 32 << 20),
            *more_options,
        )
        self.channel = (
            grpc.secure_channel(target, tls, options=options) if tls else grpc.insecure_channel(target, options=options)
        )
        if token:
            self.channel = with_token(self.channel, token)
        self._mail = _mailbox_stub(self.channel)
        self._supervisor = _supervisor_stub(self.channel)
        self._health = _health_stub(self.channel)

    def close(self) -> None:
        self.channel.close()

    def call(self, method: str, request: object, timeout: float | None = BOUND_SEC) -> Any:
        """Calls a method of MailboxService."""
        return getattr(self._mail, method)(request, timeout=timeout)

    def raw(self, method: str, request: bytes) -> bytes:
        """Calls a unary method with any bytes."""
        unary = cast("Any", self.channel.unary_unary(SERVICE + method))
        return cast("bytes", unary(request, timeout=BOUND_SEC))

    def send(
        self,
        recipient: str,
        content: str = "",
        *,
        sender: str = "tester",
        metadata: Mapping[str, object] | None = None,
        ttl_sec: float | None = None,
        timeout: float | None = BOUND_SEC,
        **fields: Any,
    ) -> pb.SendMessageResponse:
        """Sends one message."""
        request = send_request(recipient, content, sender=sender, metadata=metadata, ttl_sec=ttl_sec, **fields)
        return cast("pb.SendMessageResponse", self._mail.SendMessage(request, timeout=timeout))

    def start_send(self, recipient: str, content: str = "", *, sender: str = "tester") -> Any:
        """Begins to send one message; returns a future."""
        return self._mail.SendMessage.future(send_request(recipient, content, sender=sender), timeout=BOUND_SEC)

    def send_many(self, requests: Iterable[pb.SendMessageRequest]) -> list[pb.SendResult]:
        """Sends in one bulk stream, a thousand at a time."""
        rest = iter(requests)
        batches = iter(lambda: list(itertools.islice(rest, 1000)), [])
        asked = (pb.SendMessagesRequest(messages=batch) for batch in batches)
        return [result for answer in self._mail.SendMessages(asked, timeout=BOUND_SEC) for result in answer.results]

    def fill(self, agent: str, number: int, content: str = "mail {}") -> list[str]:
        """Sends `number` messages, and returns their ids."""
        results = self.send_many(send_request(agent, content.format(index)) for index in range(number))
        return [result.ok.message.id for result in results]

    def broadcast(self, recipients: Iterable[str], message: pb.SendMessageRequest) -> list[pb.SendResult]:
        request = pb.BroadcastMessageRequest(recipients=recipients, message=message)
        return list(self.call("BroadcastMessage", request).results)

    def check(self, agent: str, *, wait_sec: float | None = None, **fields: Any) -> pb.CheckInboxResponse:
        request = pb.CheckInboxRequest(agent=agent, **fields)
        if wait_sec is not None:
            request.wait.CopyFrom(duration(wait_sec))
        return cast("pb.CheckInboxResponse", self.call("CheckInbox", request))

    def acknowledge(self, agent: str, ids: Iterable[str], by: str = "") -> pb.AcknowledgeMessagesResponse:
        request = pb.AcknowledgeMessagesRequest(agent=agent, message_ids=ids, by=by)
        return cast("pb.AcknowledgeMessagesResponse", self.call("AcknowledgeMessages", request))

    def mark_offered(self, agent: str, ids: Iterable[str]) -> None:
        self.call("MarkOffered", pb.MarkOfferedRequest(agent=agent, message_ids=ids))

    def get(self, message_id: str) -> pb.GetMessageResponse:
        return cast("pb.GetMessageResponse", self.call("GetMessage", pb.GetMessageRequest(id=message_id)))

    def state(self, message_id: str) -> "pb.DeliveryState":
        return self.get(message_id).delivery.state

    def page(self, agent: str, **fields: Any) -> pb.ListMessagesResponse:
        request = pb.ListMessagesRequest(agent=agent, **fields)
        return cast("pb.ListMessagesResponse", self.call("ListMessages", request))

    def listed(self, agent: str, **fields: Any) -> list[pb.Message]:
        """Returns the messages of the first page, newest first."""
        return list(self.page(agent, **fields).messages)

    def traffic(self, period_sec: float | None = None) -> pb.GetTrafficResponse:
        request = pb.GetTrafficRequest()
        if period_sec is not None:
            request.period.CopyFrom(duration(period_sec))
        return cast("pb.GetTrafficResponse", self.call("GetTraffic", request))

    def all_stats(self) -> dict[str, pb.MailboxStats]:
        answer = self.call("GetMailboxStats", pb.GetMailboxStatsRequest())
        return {one.agent_id: one for one in answer.mailboxes}

    def stats(self, agent: str) -> pb.MailboxStats:
        (one,) = self.call("GetMailboxStats", pb.GetMailboxStatsRequest(agent=agent)).mailboxes
        return cast("pb.MailboxStats", one)

    def subscribe(self, agent: str = "", **fields: Any) -> Stream:
        """Opens a stream. It is live only behind its CaughtUp."""
        call = self.call("Subscribe", pb.SubscribeRequest(agent=agent, **fields))
        return Stream(call, skips_receipts=bool(fields.get("all_agents")))

    def live(self, agent: str = "", **fields: Any) -> Stream:
        """Opens a stream from now on, and returns it when it is live."""
        stream = self.subscribe(agent, **fields)
        assert stream.until_caught_up()[0] == []
        return stream

    def status(self) -> pb.GetStatusResponse:
        return cast("pb.GetStatusResponse", self._supervisor.GetStatus(pb.GetStatusRequest(), timeout=BOUND_SEC))

    def metric(self, name: str) -> float:
        """Returns the sum of the samples with this name."""
        samples = self._supervisor.GetMetrics(pb.GetMetricsRequest(), timeout=BOUND_SEC).samples
        return sum(sample.value for sample in samples if sample.name == name)

    def worker(self, name: str) -> pb.WorkerStatus:
        return next(one for one in self.status().workers if one.name == name)

    def is_serving(self, service: str = "") -> bool:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = self._health.Check(request, timeout=BOUND_SEC)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def watch_serving(self, service: str = "") -> Generator[bool]:
        """Yields whether a service is serving, each time that changes, to the end of the stream."""
        request = health_pb2.HealthCheckRequest(service=service)
        for answer in self._health.Watch(request, timeout=BOUND_SEC):
            yield answer.status == health_pb2.HealthCheckResponse.SERVING

    def services(self) -> list[str]:
        """Returns the services that reflection lists."""
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = _reflection_stub(self.channel).ServerReflectionInfo(iter([request]), timeout=BOUND_SEC)
        return sorted(one.name for one in answer.list_services_response.service)


def send_request(
    recipient: str,
    content: str = "",
    *,
    sender: str = "tester",
    metadata: Mapping[str, object] | None = None,
    ttl_sec: float | None = None,
    **fields: Any,
) -> pb.SendMessageRequest:
    """Makes a request to send."""
    request = pb.SendMessageRequest(recipient=recipient, sender=sender, content=content, **fields)
    if metadata is not None:
        request.metadata.CopyFrom(struct(metadata))
    if ttl_sec is not None:
        request.ttl.CopyFrom(duration(ttl_sec))
    return request


def struct(value: Mapping[str, object]) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(cast("Any", value))
    return made


def duration(seconds: float) -> duration_pb2.Duration:
    made = duration_pb2.Duration()
    made.FromNanoseconds(round(seconds * 1e9))
    return made


def connect(
    target: str,
    token: str = "",
    tls: grpc.ChannelCredentials | None = None,
    more_options: Sequence[tuple[str, int]] = (),
) -> "closing[Client]":
    """Opens a channel of its own, for a `with`."""
    return closing(Client(target, token, tls, more_options))
