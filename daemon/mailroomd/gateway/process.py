"""Gateway — the worker that speaks gRPC.

Owns the server, its addresses, and the order of its start and stop. It holds no state of its own: everything durable is
in the mailbox, the command-queue or the client. gRPC runs in one loop on one thread.
Invariant: it reports ready only once its addresses are bound and the mailbox has answered it.
"""

__all__ = ["main"]

import asyncio
import os
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import grpc.aio
import uvloop

from mailroomd.auth.authentication import Authenticator
from mailroomd.auth.token_file import TokenCache, TokenFile
from mailroomd.core.host_directory import HostDirectory
from mailroomd.gateway.alias_cache import AliasCache
from mailroomd.gateway.client_limits import ClientLimits, Limits
from mailroomd.gateway.descriptors import DescriptorWatch
from mailroomd.gateway.grpc_log import forward_grpc_log
from mailroomd.gateway.health import Health
from mailroomd.gateway.inbox import Inbox
from mailroomd.gateway.inbox_census import InboxCensus
from mailroomd.gateway.listening import bind
from mailroomd.gateway.lookup import Lookup
from mailroomd.gateway.mail_reader import MailReader
from mailroomd.gateway.mailbox_client import MailboxClient
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.rpcs import OWN_SERVICES
from mailroomd.gateway.sending import Sending
from mailroomd.gateway.server import make_server
from mailroomd.gateway.socket_watch import SocketWatch
from mailroomd.gateway.status import refusals
from mailroomd.gateway.supervisor_service import SupervisorService
from mailroomd.gateway.wakeups import Wakeups
from mailroomd.memory.heap import trim_heap
from mailroomd.model.settings import Settings
from mailroomd.observability.log import log
from mailroomd.observability.metrics import CALLS_WAITING, REQUESTS_QUEUE, SUBSCRIBERS
from mailroomd.protocol.packets import AliasChanged, CountSubscribers, Event, Hello, HighWaterMarkAdvanced
from mailroomd.protocol.reports import StorageStateChanged
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import TableReader
from mailroomd.worker.config import GatewayConfig
from mailroomd.worker.context import EX_REPLACE
from mailroomd.worker.runner import WorkerContext
from mailroomd.worker.shortage import EX_SHORTAGE, is_shortage

DRAIN_SEC = 2.0  # for calls that were accepted before the stop
REFUSE_SEC = 0.1  # in which arriving calls are refused with STOPPING; gRPC itself would only cancel them
STREAM_GRACE_SEC = 0.5  # for streams whose clients do not read that error
TRIM_AFTER_STREAMS = 500  # ended streams hold some 13 MB, worth the few milliseconds that it takes to return them


def main(context: WorkerContext, config: GatewayConfig) -> None:
    """Runs a gateway until the supervisor stops it."""

    async def run() -> None:
        await Gateway(context, config).run()

    uvloop.run(run())


class Gateway:
    """One gateway: its server, and its connection to the mailbox. Create it in the loop that runs it."""

    def __init__(self, context: WorkerContext, config: GatewayConfig) -> None:
        settings = context.settings
        self._context = context
        self._config = config
        self._stop_requested = asyncio.Event()
        self._descriptors = DescriptorWatch(len(config.listen))
        self._sockets = SocketWatch(())  # until the addresses are bound
        layout = TableLayout.for_ring(settings.table_bytes, settings.table_mailboxes)
        self._reader = MailReader(TableReader(config.table.buffer, layout), settings.state_dir)
        self._aliases = AliasCache()
        self._wakeups = Wakeups(lambda agent, count: self._client.send_oneway(CountSubscribers(agent, count)))
        self._client = MailboxClient(
            config.gateway,
            context.epoch,
            config.requests,
            config.events,
            config.answers,
            self._wakeups.subscriber_counts,
            self._on_event,
        )
        self._guard = _make_guard(settings, self._aliases)
        self._health = Health(context.control, settings.stuck_after_sec, OWN_SERVICES, context.report_health)

    async def run(self) -> None:
        """Starts, serves until STOP, and stops in order."""
        context = self._context
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_on_unhandled)
        loop.add_reader(context.control_fileno(), self._on_control_message)
        refusals.attach(context.metrics)
        forward_grpc_log()
        server = make_server(
            self._servicers(),
            self._guard,
            listeners=len(self._config.listen),
            share_ports=context.settings.gateways > 1,
        )
        addresses = bind(server, self._config.listen, self._config.tls, is_first_start=context.epoch == 1)
        context.report_addresses(addresses)
        beats = _start_essential(self._beat())
        self._client.send_hello()
        await self._wait_for_mailbox()
        await server.start()
        self._sockets = SocketWatch(addresses)
        await self._health.refresh()  # the supervisor learns the health before it learns that the gateway is ready
        refreshes = _start_essential(self._health.run())
        context.report_ready()
        await self._stop_requested.wait()
        await self._stop(server)
        for task in (refreshes, beats):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _servicers(self) -> tuple[object, ...]:
        """Returns the objects whose methods `gateway.rpcs` names."""
        metrics, settings = self._context.metrics, self._context.settings
        hosts = HostDirectory(settings.state_dir if settings.hub else None)
        return (
            Sending(self._client, metrics, hosts),
            Inbox(self._reader, self._client, self._wakeups, self._aliases, metrics, lambda: self._guard.is_stopping),
            Lookup(self._reader, self._aliases, InboxCensus(settings.root), hosts),
            SupervisorService(self._context.control, lambda: self._context.settings, hosts),
            self._health.servicer,
        )

    async def _wait_for_mailbox(self) -> None:
        """Waits for the mailbox, which may be restarting together with this gateway, or for the stop."""
        connected = asyncio.create_task(self._client.wait_until_connected())
        stopped = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait((connected, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (connected, stopped):
            task.cancel()
        self._health.is_connected = self._client.is_connected

    async def _beat(self) -> None:
        while True:
            self._context.beat()
            if self._wakeups.ended_streams >= TRIM_AFTER_STREAMS:
                self._wakeups.ended_streams = 0
                trim_heap()
            self._update_gauges()
            self._descriptors.check()
            if self._sockets.needs_restart() and not self._stop_requested.is_set():
                await self._client.drain(DRAIN_SEC)
                os._exit(EX_REPLACE)  # the supervisor starts a gateway that binds again
            await asyncio.sleep(self._context.beat_interval_sec)

    def _update_gauges(self) -> None:
        metrics = self._context.metrics
        metrics.set(SUBSCRIBERS.at, sum(count for _, count in self._wakeups.subscriber_counts()))
        metrics.set(CALLS_WAITING.at, self._client.pending_calls)
        metrics.set(REQUESTS_QUEUE.at, self._client.backlog)

    def _on_control_message(self) -> None:
        if self._context.stop_requested():
            self._stop_requested.set()

    def _on_event(self, event: Event | Hello) -> None:
        if isinstance(event, HighWaterMarkAdvanced):
            self._wakeups.notify(event.mailboxes, event.senders)
        elif isinstance(event, AliasChanged):
            self._aliases.apply(event)
            self._wakeups.notify_all()  # a stream may have another mailbox to read now
        elif isinstance(event, StorageStateChanged):
            self._health.is_writable = event.writable
            self._refresh = _start_essential(self._health.refresh())  # kept, or the task could be garbage-collected
        else:  # the mailbox restarted: notifications may have been lost with it
            self._wakeups.notify_all()

    async def _stop(self, server: grpc.aio.Server) -> None:
        self._health.is_stopping = True
        await self._health.refresh()
        self._guard.is_stopping = True  # refuses new work; streams and waiting calls end with their next wake-up
        self._wakeups.notify_all()
        await asyncio.sleep(REFUSE_SEC)
        if not await self._client.drain(DRAIN_SEC):
            self._client.refuse_pending()
            await asyncio.sleep(REFUSE_SEC)
        await server.stop(STREAM_GRACE_SEC)
        self._client.close()
        self._reader.close()


def _make_guard(settings: Settings, aliases: AliasCache) -> RequestGuard:
    limits = Limits(
        rate_per_sec=settings.client_rate_per_sec,
        streams=settings.client_streams,
        owner_streams=settings.owner_streams,
        in_flight_bytes=settings.client_in_flight_bytes,
    )
    tokens = TokenCache(TokenFile(settings.state_dir))
    is_required = settings.auth == "required"
    has_strangers = is_required and any(not address.startswith("unix:") for address in settings.listen)
    authenticator = Authenticator(tokens, is_required=is_required)
    return RequestGuard(authenticator, ClientLimits(limits), aliases.agent_of, has_strangers=has_strangers)


def _start_essential(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Starts work that the gateway cannot do without: an exception ends the process."""
    task = asyncio.create_task(work)
    task.add_done_callback(_exit_unless_cancelled)
    return task


def _exit_unless_cancelled(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _on_unhandled(asyncio.get_running_loop(), {"exception": error, "handle": task})


def _on_unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs an unhandled exception; if it came from a callback of ours, exits so that the supervisor restarts us."""
    error = context.get("exception")
    if isinstance(error, BlockingIOError):  # gRPC's poller woke up for nothing; it reads again when there is data
        return
    log.error("unhandled exception", source=context.get("message", ""), error=repr(error), exc_info=error)
    if "handle" in context:
        os._exit(EX_SHORTAGE if error is not None and is_shortage(error) else os.EX_SOFTWARE)
