"""Gateway — the worker that speaks gRPC.

Owns the server and its addresses, and the order of its start and stop. It holds no state that matters: what it must not
lose is in the mailbox, the command-queue or the client. One loop, one thread for gRPC. Below: `rpc`.
Invariant: it announces itself ready only when its addresses are bound and the mailbox has answered it.
"""

__all__ = ["main"]

import asyncio
import os
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, cast

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from mailroomd.auth.authentication import Authentication
from mailroomd.auth.token_file import KnownTokens, TokenFile
from mailroomd.gateway import mailbox_service, supervisor_service
from mailroomd.gateway.client_limits import ClientLimits, Limits
from mailroomd.gateway.grpc_log import hear_grpc
from mailroomd.gateway.handlers import generic_handler
from mailroomd.gateway.health import Health
from mailroomd.gateway.inbox_census import InboxCensus
from mailroomd.gateway.listening import bind
from mailroomd.gateway.mail_reader import MailReader
from mailroomd.gateway.mailbox_client import MailboxClient
from mailroomd.gateway.mailbox_service import MailboxService
from mailroomd.gateway.names import Names
from mailroomd.gateway.reflection import Reflection
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.status import refusals
from mailroomd.gateway.supervisor_service import SupervisorService
from mailroomd.gateway.wakeups import Wakeups
from mailroomd.memory.heap import trim_heap
from mailroomd.model.limits import MAX_WAITING_CALLS
from mailroomd.observability.log import log
from mailroomd.observability.metrics import CALLS_WAITING, REQUESTS_QUEUE, SUBSCRIBERS
from mailroomd.protocol.commands import StorageStateChanged
from mailroomd.protocol.packets import AliasChanged, CountSubscribers, Event, Hello, HighWaterMarkAdvanced
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import TableReader
from mailroomd.worker.config import GatewayConfig
from mailroomd.worker.runner import WorkerContext
from mailroomd.worker.shortage import EX_SHORTAGE, is_shortage

MAX_REQUEST_BYTES = 16 << 20  # a bulk request of a thousand small messages, or a dozen of the largest
ANSWER_GRACE_SEC = 2.0  # for calls that were accepted before the stop
REFUSAL_SEC = 0.1  # in which calls that are on their way hear STOPPING; gRPC itself would just cancel them
STREAM_GRACE_SEC = 0.5  # for streams that don't take their good-bye
MAX_PENDING_CALLS = 2 * MAX_WAITING_CALLS  # calls that gRPC holds before their handlers start
MANY_STREAMS = 500  # that ended, some 13 MB: it is worth some milliseconds to give that back
SERVICES = (mailbox_service.SERVICE, supervisor_service.SERVICE)


def main(context: WorkerContext, config: GatewayConfig) -> None:
    """Runs a gateway until it is told to stop."""
    uvloop.run(Gateway(context, config).run())


class Gateway:
    """One gateway: its server, and what connects it to the mailbox."""

    def __init__(self, context: WorkerContext, config: GatewayConfig) -> None:
        self._context = context
        self._config = config
        self._stop_asked = asyncio.Event()

    async def run(self) -> None:
        """Starts, serves until STOP, and stops in good order."""
        context, config = self._context, self._config
        refusals.attach(context.metrics)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_exit_on_own_error)
        hear_grpc()
        loop.add_reader(context.control_fileno(), self._on_control_message)
        layout = TableLayout.for_ring(context.settings.table_bytes, context.settings.table_mailboxes)
        self._reader = MailReader(TableReader(config.table.buffer, layout), context.settings.state_dir)
        self._names = Names()
        self._wakeups = Wakeups(lambda agent, count: self._calls.tell(CountSubscribers(agent, count)))
        self._calls = MailboxClient(
            config.gateway, context.epoch, config.requests, config.events, self._wakeups.subscribers, self._hear
        )
        self._guard = self._make_gate()
        self._health = Health(
            context.control, context.settings.stuck_after_sec, SERVICES, context.report_health, self._guard
        )
        census = InboxCensus(context.settings.root)
        self._service = MailboxService(self._reader, self._calls, self._wakeups, self._names, census, context.metrics)
        server = self._make_server()
        context.report_addresses(bind(server, config.listen, config.tls, is_first_start=context.epoch == 1))
        beating = _guarded(self._beat())
        self._calls.greet()
        await self._until_answered()
        await server.start()
        await self._health.look()  # so that whoever hears that it is ready knows whether mail is taken
        watching = _guarded(self._health.watch())
        context.report_ready()
        await self._stop_asked.wait()
        await self._stop(server)
        for task in (watching, beating):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _make_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 1 if self._context.settings.gateways > 1 else 0),
                ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
                # Left alone, gRPC answers some of a burst of more than 1,000 calls with a bare CANCELLED, which no
                # client repeats. Beyond this a call has been refused by `MailboxClient`, with a reason.
                ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
                ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_CALLS),
            ]
        )
        server.add_generic_rpc_handlers(
            (
                generic_handler(mailbox_service.SERVICE, self._service.handlers(), self._guard),
                generic_handler(
                    supervisor_service.SERVICE, SupervisorService(self._context.control).handlers(), self._guard
                ),
            )
        )
        cast("Any", health_pb2_grpc).add_HealthServicer_to_server(self._health.servicer, server)
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        told_of = (*SERVICES, health_name, reflection.SERVICE_NAME)
        add_reflection = cast("Any", reflection_pb2_grpc).add_ServerReflectionServicer_to_server
        add_reflection(Reflection(told_of, self._guard), server)
        return server

    def _make_gate(self) -> RequestGuard:
        settings = self._context.settings
        limits = Limits(
            rate_per_sec=settings.client_rate_per_sec,
            streams=settings.client_streams,
            owner_streams=settings.owner_streams,
            in_flight_bytes=settings.client_in_flight_bytes,
        )
        tokens = KnownTokens(TokenFile(settings.state_dir))
        authentication = Authentication(tokens, is_required=settings.auth == "required")
        return RequestGuard(authentication, ClientLimits(limits), self._names.agent_of)

    async def _until_answered(self) -> None:
        """Waits for the mailbox, which a gateway that restarts together with it may find gone."""
        answered = asyncio.create_task(self._calls.wait_until_connected())
        stopped = asyncio.create_task(self._stop_asked.wait())
        await asyncio.wait((answered, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (answered, stopped):
            task.cancel()
        self._health.is_connected = self._calls.is_connected

    async def _beat(self) -> None:
        while True:
            self._context.beat()
            if self._wakeups.streams_ended >= MANY_STREAMS:
                self._wakeups.streams_ended = 0
                trim_heap()
            self._show_gauges()
            await asyncio.sleep(self._context.beat_interval_sec)

    def _show_gauges(self) -> None:
        metrics = self._context.metrics
        metrics.set(SUBSCRIBERS.at, sum(count for _, count in self._wakeups.subscribers()))
        metrics.set(CALLS_WAITING.at, self._calls.waiting)
        metrics.set(REQUESTS_QUEUE.at, self._calls.backlog)

    def _on_control_message(self) -> None:
        if self._context.stop_requested():
            self._stop_asked.set()

    def _hear(self, event: Event | Hello) -> None:
        if isinstance(event, HighWaterMarkAdvanced):
            self._wakeups.notify(event.mailboxes, event.senders)
        elif isinstance(event, AliasChanged):
            self._names.hear(event)
            self._wakeups.notify_all()  # a stream may have another mailbox to read now
        elif isinstance(event, StorageStateChanged):
            self._health.is_writable = event.writable
            self._looking = _guarded(self._health.look())  # kept, or the task could be collected before it ran
        else:  # the mailbox restarted: announcements may have been lost with it
            self._wakeups.notify_all()

    async def _stop(self, server: grpc.aio.Server) -> None:
        self._health.is_stopping = True
        await self._health.look()
        self._service.stop()
        await asyncio.sleep(REFUSAL_SEC)
        if not await self._calls.wait_until_answered(ANSWER_GRACE_SEC):
            self._calls.refuse_all()
            await asyncio.sleep(REFUSAL_SEC)
        await server.stop(STREAM_GRACE_SEC)
        self._calls.close()
        self._reader.close()


def _guarded(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Starts work without which the gateway is of no use."""
    task = asyncio.create_task(work)
    task.add_done_callback(_exit_unless_cancelled)
    return task


def _exit_unless_cancelled(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _exit_on_own_error(asyncio.get_running_loop(), {"exception": error, "handle": task})


def _exit_on_own_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs what nobody caught; where it was in a callback of ours, leaves it to the supervisor to start anew."""
    error = context.get("exception")
    if isinstance(
        error, BlockingIOError
    ):  # gRPC's own poller, woken for nothing: it reads again when there is something
        return
    log.error("nobody caught an error", what=context.get("message", ""), error=repr(error), exc_info=error)
    if "handle" in context:
        os._exit(EX_SHORTAGE if error is not None and is_shortage(error) else os.EX_SOFTWARE)
