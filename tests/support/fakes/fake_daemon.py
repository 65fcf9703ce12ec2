"""FakeDaemon — an in-memory implementation of the contract on a Unix socket, with scripted failures.

Implements just enough to hold clients to the contract: a global sequence of events, idempotency keys, replay, delivery
states. Nothing is durable, and nothing is validated. `scenes` runs it for tests.
"""

__all__ = ["FakeDaemon"]

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mailroom.v1 import mailroom_pb2 as pb
from mailroom.v1 import mailroom_pb2_grpc
from support.fakes.filters import is_listed, page_of, preview_of, responses_of, shortened
from support.fakes.scripted import Context, Refusal, StreamEnd

LAST_ID_BEFORE = 0x0198_0000_0000_0000


@dataclass
class FakeDaemon:
    """The servicer of all three services.

    Attributes:
        requests: every request so far, by RPC.
        refusals: the failures of the next calls, by RPC.
        stream_ends: (number of events, kind of end) of each next stream; later streams stay open.
        inbox_file_error: the error in every delivery.
        busy: recipients for which one bulk send fails with WORKER_RESTARTING.
        asleep: known agents that are not alive.
        elsewhere: addresses of agents on other hosts.
        aliases: agent by session.
        page_size: the number of mailboxes or agents on a page.
        max_batch: the most events in one response; 1 for a daemon that does not know batches.
        has_gap: what every CaughtUp says of the events before it.
        open_streams, open_send_streams: how many Subscribe and SendMessages streams are open.
        held: which of SendMessage and SendMessages are received but not answered until `release`.
    """

    socket: Path
    requests: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    refusals: dict[str, deque[Refusal]] = field(default_factory=lambda: defaultdict(deque))
    stream_ends: deque[tuple[int, StreamEnd]] = field(default_factory=deque[tuple[int, StreamEnd]])
    inbox_file_error: str = ""
    busy: set[str] = field(default_factory=set[str])
    asleep: set[str] = field(default_factory=set[str])
    elsewhere: set[str] = field(default_factory=set[str])
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    page_size: int = 2
    max_batch: int = 3
    has_gap: bool = False
    known: set[str] = field(default_factory=set[str])
    messages: dict[str, pb.Message] = field(default_factory=dict[str, pb.Message])
    open_streams: int = 0
    open_send_streams: int = 0
    held: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        self._events: list[pb.SubscribeResponse] = []
        self._responses_by_key: dict[tuple[str, str], pb.SendMessageResponse] = {}
        self._last_id = LAST_ID_BEFORE
        self._changed = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    async def start(self) -> None:
        server = grpc.aio.server()
        register = cast("Any", mailroom_pb2_grpc)
        register.add_MailboxServiceServicer_to_server(self, server)
        register.add_SupervisorServiceServicer_to_server(self, server)
        cast("Any", health_pb2_grpc).add_HealthServicer_to_server(self, server)
        server.add_insecure_port(self.address)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server:
            await server.stop(None)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition that only a change of this fake can fulfil."""
        while not condition():
            await self._changed.wait()

    def release(self, rpc: str) -> None:
        """Answers the requests that were held."""
        self.held.discard(rpc)
        self._wake()

    def refuse(self, rpc: str, *refusals: Refusal) -> None:
        self.refusals[rpc].extend(refusals)

    def deliver(self, recipient: str, content: str, sender: str = "dashboard", **fields: Any) -> str:
        """Stores a message and returns its id."""
        message = pb.Message(
            id=self._issue_id(), recipient=recipient, sender=sender, content=content, type="text", **fields
        )
        message.state = pb.DELIVERY_STATE_FILED
        message.timestamp.GetCurrentTime()
        self.messages[message.id] = message
        self._announce(pb.SubscribeResponse(message=message, event_id=message.id))
        return message.id

    def respond(self, session_id: str, body: dict[str, Any], *, body_json: str = "") -> str:
        """Announces a command response and returns its event id; `body_json` replaces the body."""
        response = pb.CommandResponse(session_id=session_id, file_name="answer.json", body_json=body_json)
        response.timestamp.GetCurrentTime()
        if not body_json:
            response.body.update(body)
        event_id = self._issue_id()
        self._announce(pb.SubscribeResponse(command_response=response, event_id=event_id))
        return event_id

    def mark_read(self, message_id: str, by: str = "") -> None:
        """Marks a message as read and announces its receipt."""
        message = self.messages[message_id]
        message.read, message.state = True, pb.DELIVERY_STATE_READ
        receipt = pb.Receipt(message_id=message_id, recipient=message.recipient, state=message.state, by=by)
        receipt.timestamp.GetCurrentTime()
        self._announce(pb.SubscribeResponse(receipt=receipt, event_id=self._issue_id()))

    def give_back(self, message_id: str, reason: str) -> None:
        """Returns a message to its sender, as another host would."""
        message = self.messages[message_id]
        message.state = pb.DELIVERY_STATE_RETURNED
        receipt = pb.Receipt(message_id=message_id, recipient=message.recipient, state=message.state, reason=reason)
        receipt.timestamp.GetCurrentTime()
        self._announce(pb.SubscribeResponse(receipt=receipt, event_id=self._issue_id()))

    def announce_unknown(self) -> None:
        """Announces an event of a kind that this contract does not have, to everybody."""
        self._announce(pb.SubscribeResponse(event_id=self._issue_id()))

    # The three services.

    async def SendMessage(self, request: pb.SendMessageRequest, context: Context) -> pb.SendMessageResponse:  # noqa: N802
        refusal = await self._enter("SendMessage", request, context)
        await self.wait_until(lambda: "SendMessage" not in self.held)
        response = self._store_once(request)
        if refusal:
            await refusal.abort(context)
        return response

    async def SendMessages(  # noqa: N802
        self, requests: AsyncIterator[pb.SendMessagesRequest], context: Context
    ) -> AsyncIterator[pb.SendMessagesResponse]:
        self.open_send_streams += 1
        self._wake()
        try:
            async for request in requests:
                refusal = await self._enter("SendMessages", request, context)
                await self.wait_until(lambda: "SendMessages" not in self.held)
                results = [self._send_one(draft) for draft in request.messages]
                if refusal:
                    await refusal.abort(context)
                yield pb.SendMessagesResponse(results=results)
        finally:
            self.open_send_streams -= 1
            self._wake()

    async def BroadcastMessage(  # noqa: N802
        self, request: pb.BroadcastMessageRequest, context: Context
    ) -> pb.BroadcastMessageResponse:
        await self._enter("BroadcastMessage", request, context)
        response = pb.BroadcastMessageResponse()
        for recipient in request.recipients:
            if recipient.startswith("."):
                message = f"{recipient} is not a valid name"
                error = pb.SendError(code=3, reason="RECIPIENT_INVALID", message=message, field="recipient")
                response.results.add(error=error)
                continue
            draft = pb.SendMessageRequest()
            draft.CopyFrom(request.message)
            draft.recipient = recipient
            response.results.add(ok=self._store(draft))
        return response

    async def CheckInbox(self, request: pb.CheckInboxRequest, context: Context) -> pb.CheckInboxResponse:  # noqa: N802
        await self._enter("CheckInbox", request, context)
        self.known.add(request.agent)
        if request.HasField("wait"):
            wait_sec = request.wait.ToTimedelta().total_seconds()
            try:
                await asyncio.wait_for(self.wait_until(lambda: bool(self._unread(request))), wait_sec)
            except TimeoutError:
                return pb.CheckInboxResponse()
        unread, limit = self._unread(request), request.limit or 50
        return pb.CheckInboxResponse(messages=unread[:limit], more=len(unread) > limit)

    async def MarkOffered(self, request: pb.MarkOfferedRequest, context: Context) -> pb.MarkOfferedResponse:  # noqa: N802
        await self._enter("MarkOffered", request, context)
        for message_id in request.message_ids:
            self.messages[message_id].state = pb.DELIVERY_STATE_OFFERED
        return pb.MarkOfferedResponse()

    async def AcknowledgeMessages(  # noqa: N802
        self, request: pb.AcknowledgeMessagesRequest, context: Context
    ) -> pb.AcknowledgeMessagesResponse:
        await self._enter("AcknowledgeMessages", request, context)
        known = [message_id for message_id in request.message_ids if message_id in self.messages]
        for message_id in known:
            self.mark_read(message_id, request.by)
        unknown = [message_id for message_id in request.message_ids if message_id not in self.messages]
        return pb.AcknowledgeMessagesResponse(acknowledged_ids=known, unknown_ids=unknown)

    async def GetMessage(self, request: pb.GetMessageRequest, context: Context) -> pb.GetMessageResponse:  # noqa: N802
        await self._enter("GetMessage", request, context)
        if request.id not in self.messages:
            code = grpc.StatusCode.NOT_FOUND
            await Refusal(code, "MESSAGE_NOT_FOUND", f"there is no message {request.id}", field="id").abort(context)
        message = self.messages[request.id]
        receipt = pb.Receipt(
            message_id=message.id, recipient=message.recipient, state=message.state, timestamp=message.timestamp
        )
        return pb.GetMessageResponse(message=message, delivery=self._delivery(message), history=[receipt])

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Context) -> pb.ListMessagesResponse:  # noqa: N802
        await self._enter("ListMessages", request, context)
        listed = [m for m in reversed(self.messages.values()) if is_listed(m, request)]
        rest = [m for m in listed if not request.page_token or m.id < request.page_token]
        size = request.page_size or 50
        token = rest[size - 1].id if len(rest) > size else ""
        shown = [preview_of(message, request.preview_bytes) for message in rest[:size]]
        return pb.ListMessagesResponse(messages=shown, next_page_token=token)

    async def GetTraffic(self, request: pb.GetTrafficRequest, context: Context) -> pb.GetTrafficResponse:  # noqa: N802
        await self._enter("GetTraffic", request, context)
        counts = Counter((message.sender, message.recipient) for message in self.messages.values())
        response = pb.GetTrafficResponse(messages=counts.total())
        response.since.FromDatetime(datetime.now(UTC) - request.period.ToTimedelta())
        for (sender, recipient), messages in counts.most_common():
            response.pairs.add(sender=sender, recipient=recipient, messages=messages)
        return response

    async def GetMailboxStats(  # noqa: N802
        self, request: pb.GetMailboxStatsRequest, context: Context
    ) -> pb.GetMailboxStatsResponse:
        await self._enter("GetMailboxStats", request, context)
        names = sorted({message.recipient for message in self.messages.values()})
        wanted = [request.agent] if request.agent else names  # the daemon returns a row for any name, too
        page, token = page_of(wanted, request.page_token, self.page_size)
        return pb.GetMailboxStatsResponse(mailboxes=map(self._stats, page), next_page_token=token)

    async def ClearMailbox(self, request: pb.ClearMailboxRequest, context: Context) -> pb.ClearMailboxResponse:  # noqa: N802
        await self._enter("ClearMailbox", request, context)
        own = [message.id for message in self.messages.values() if message.recipient == request.agent]
        for message_id in own:
            del self.messages[message_id]
        return pb.ClearMailboxResponse(deleted=len(own))

    async def GetQueueStats(self, request: pb.GetQueueStatsRequest, context: Context) -> pb.GetQueueStatsResponse:  # noqa: N802
        await self._enter("GetQueueStats", request, context)
        counts = Counter(message.recipient for message in self.messages.values() if not message.read)
        names = [name for name in sorted(counts) if request.session_id in ("", name)]
        page, token = page_of(names, request.page_token, self.page_size)
        queues = [pb.QueueStats(session_id=name, pending_count=counts[name], oldest_age_sec=60) for name in page]
        return pb.GetQueueStatsResponse(queues=queues, next_page_token=token)

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:  # noqa: N802
        await self._enter("SetAlias", request, context)
        ttl_sec = request.ttl.ToTimedelta().total_seconds() if request.HasField("ttl") else 86_400.0
        response = pb.SetAliasResponse()
        self.aliases.pop(request.session, None)
        if ttl_sec:
            self.aliases[request.session] = request.agent
            response.expires_at.FromDatetime(datetime.now(UTC) + timedelta(seconds=ttl_sec))
        return response

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:  # noqa: N802
        await self._enter("ListAgents", request, context)
        alive = self.known - self.asleep
        names = sorted([*(alive if request.alive_only else self.known), *(self.elsewhere if request.all_hosts else ())])
        page, token = page_of(names, request.page_token, self.page_size)
        return pb.ListAgentsResponse(agents=map(self._agent, page), next_page_token=token)

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:  # noqa: N802
        await self._enter("GetStatus", request, context)
        workers = [
            pb.WorkerStatus(name=name, pid=100 + number, state="running", restarts=number)
            for number, name in enumerate(("mailbox", "command-queue", "gateway"))
        ]
        response = pb.GetStatusResponse(version="9.9.9", workers=workers, max_unread=100_000)
        response.keep_read.FromSeconds(86_400)
        if self.elsewhere:
            hosts = [pb.HostStatus(name=address.partition(":")[2], waiting=1200) for address in sorted(self.elsewhere)]
            response.hub.CopyFrom(pb.HubStatus(host="here", connected=True, hosts=hosts))
        return response

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Context) -> pb.GetMetricsResponse:  # noqa: N802
        await self._enter("GetMetrics", request, context)
        sends = pb.MetricSample(name="mailroom_sends_total", labels={"process": "mailbox"}, value=len(self.messages))
        return pb.GetMetricsResponse(samples=[sends])

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        await self._enter("Check", request, context)
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    async def Watch(self, request: object, context: Context) -> None:  # noqa: N802
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, type(request).__name__)

    List = Watch

    async def Subscribe(self, request: pb.SubscribeRequest, context: Context) -> AsyncIterator[pb.SubscribeResponse]:  # noqa: N802
        await self._enter("Subscribe", request, context)
        last_id, sent = request.after_id, 0
        after, end = self.stream_ends.popleft() if self.stream_ends else (None, StreamEnd.SILENTLY)
        self.open_streams += 1
        self._wake()
        try:
            if after == 0:
                await self._end(end, context)
            else:
                async for ready in self._ready_events(request):
                    events = ready if after is None else ready[: after - sent]
                    shown = [shortened(event, request.preview_bytes) for event in events]
                    for response in responses_of(shown, min(request.max_batch, self.max_batch)):
                        yield response
                    last_id, sent = events[-1].event_id or events[-1].caught_up.last_id, sent + len(events)
                    if sent == after:
                        await self._end(end, context)
                        break
            if end is StreamEnd.GOING_AWAY:
                yield pb.SubscribeResponse(going_away=pb.GoingAway(last_id=last_id))
        finally:
            self.open_streams -= 1
            self._wake()

    async def _ready_events(self, request: pb.SubscribeRequest) -> AsyncIterator[list[pb.SubscribeResponse]]:
        """Yields what is ready at a time, at least one event: the replay, CaughtUp, then what is new."""
        mark = self._events[-1].event_id if self._events else ""
        if replay := [event for event in self._events if self._is_replayed(event, request)]:
            yield replay
        yield [pb.SubscribeResponse(caught_up=pb.CaughtUp(last_id=mark, gap=self.has_gap))]
        position = len([event for event in self._events if event.event_id <= mark])
        while True:
            await self.wait_until(lambda position=position: len(self._events) > position)
            new = self._events[position:]
            position += len(new)
            if wanted := [event for event in new if self._is_for(event, request)]:
                yield wanted

    async def _end(self, end: StreamEnd, context: Context) -> None:
        if end is StreamEnd.UNAVAILABLE:
            await Refusal(reason="STOPPING", message="the gateway is restarting").abort(context)
        if end is StreamEnd.CANCELLED:
            await context.abort(grpc.StatusCode.CANCELLED, "cancelled by the server")

    def _is_replayed(self, event: pb.SubscribeResponse, request: pb.SubscribeRequest) -> bool:
        if not self._is_for(event, request):
            return False
        if request.include_unread:
            return event.WhichOneof("event") == "message" and not self.messages[event.message.id].read
        return bool(request.after_id) and event.event_id > request.after_id

    def _is_for(self, event: pb.SubscribeResponse, request: pb.SubscribeRequest) -> bool:
        if request.all_agents:
            return True
        match event.WhichOneof("event"):
            case "message":
                return event.message.recipient == request.agent
            case "command_response":
                return event.command_response.session_id == request.agent
            case None:
                return True
            case _:
                sender = self.messages[event.receipt.message_id].sender
                return request.include_receipts and sender == request.agent

    async def _enter(self, rpc: str, request: Any, context: Context) -> Refusal | None:
        """Records the request and fails it if scripted; returns a failure that is due after the call took effect."""
        self.requests[rpc].append(request)
        self._wake()
        refusal = self.refusals[rpc].popleft() if self.refusals[rpc] else None
        if refusal and not refusal.after_doing:
            await refusal.abort(context)
        return refusal

    def _store_once(self, request: pb.SendMessageRequest) -> pb.SendMessageResponse:
        key = (request.sender, request.idempotency_key)
        if key not in self._responses_by_key:
            self._responses_by_key[key] = self._store(request)
        return self._responses_by_key[key]

    def _send_one(self, request: pb.SendMessageRequest) -> pb.SendResult:
        if request.recipient in self.busy:
            self.busy.discard(request.recipient)
            return pb.SendResult(error=pb.SendError(code=14, reason="WORKER_RESTARTING", message="restarting"))
        if request.recipient.startswith("."):
            message = f"{request.recipient} is not a valid name"
            return pb.SendResult(error=pb.SendError(code=3, reason="RECIPIENT_INVALID", message=message))
        return pb.SendResult(ok=self._store_once(request))

    def _store(self, request: pb.SendMessageRequest) -> pb.SendMessageResponse:
        message_id = self.deliver(
            request.recipient,
            request.content,
            request.sender,
            metadata=request.metadata,
            thread_id=request.thread_id,
            in_reply_to=request.in_reply_to,
            priority=request.priority,
        )
        self.known.add(request.sender)
        message = self.messages[message_id]
        message.type = request.type or "text"
        if request.HasField("ttl"):
            message.expires_at.FromDatetime(datetime.now(UTC) + request.ttl.ToTimedelta())
        if request.HasField("reply_by"):
            message.reply_by.CopyFrom(request.reply_by)
        return pb.SendMessageResponse(message=message, delivery=self._delivery(message))

    def _delivery(self, message: pb.Message) -> pb.Delivery:
        state = pb.DELIVERY_STATE_STORED if self.inbox_file_error else message.state
        known = message.recipient in self.known
        elsewhere = () if known else sorted(self.elsewhere)
        also_at = [
            host for name, _, host in (address.partition(":") for address in elsewhere) if name == message.recipient
        ]
        return pb.Delivery(state=state, inbox_file_error=self.inbox_file_error, recipient_known=known, also_at=also_at)

    def _unread(self, request: pb.CheckInboxRequest) -> list[pb.Message]:
        unread = [m for m in self.messages.values() if m.recipient == request.agent and not m.read]
        if request.unoffered_only:
            unread = [m for m in unread if m.state != pb.DELIVERY_STATE_OFFERED]
        return unread[::-1] if request.newest_first else unread

    def _stats(self, name: str) -> pb.MailboxStats:
        own = [message for message in self.messages.values() if message.recipient == name]
        stats = pb.MailboxStats(agent_id=name, total=len(own), unread=len([m for m in own if not m.read]))
        if name in self.known:
            stats.last_seen.GetCurrentTime()
        return stats

    def _agent(self, name: str) -> pb.AgentInfo:
        stats = self._stats(name)
        sessions = sorted(session for session, agent in self.aliases.items() if agent == name)
        alive = name not in self.asleep
        return pb.AgentInfo(
            name=name,
            alive=alive,
            last_seen=stats.last_seen,
            unread=stats.unread,
            sessions=sessions,
            subscribers=0,
            host=name.partition(":")[2],
        )

    def _issue_id(self) -> str:
        self._last_id += 1
        return f"{self._last_id:016x}"

    def _announce(self, event: pb.SubscribeResponse) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()
