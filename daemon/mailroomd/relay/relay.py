"""Relay — the worker's loop: joins hub, mailbox and database, and keeps one link for each host that mail waits for.

Owns the tasks. Not here: what each of them does (`link`, `inbound`, `host_records`, `hub`).
Invariant: whatever happens at the hub, this daemon's own mail does not notice.
"""

__all__ = ["Relay"]

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from mailroomd.model.clock import now_ms
from mailroomd.model.ids import milliseconds_of
from mailroomd.model.limits import ALIVE_MS
from mailroomd.model.names import has_host, host_of
from mailroomd.observability.log import log
from mailroomd.observability.metrics import HUB_OLDEST_MS, HUB_OPEN, HUB_WAITING
from mailroomd.protocol.packets import HighWaterMarkAdvanced
from mailroomd.relay.envelope import ReportBody, Unreadable, open_report, seal_report
from mailroomd.relay.host_records import HostRecords
from mailroomd.relay.hub import Hub, HubUnreachable
from mailroomd.relay.hub_file import HubFile
from mailroomd.relay.inbound import Inbound
from mailroomd.relay.link import HostLink
from mailroomd.relay.mailbox_client import MailboxClient
from mailroomd.relay.parts import RelayParts
from mailroomd.relay.sealing import KeyMissing, Sealer
from mailroomd.storage.database.forward_reading import ForwardReading
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import TableReader
from mailroomd.worker.config import RelayConfig
from mailroomd.worker.runner import WorkerContext

RETRY_SEC = 1.0
AGENTS_SHOWN = 200
GAUGES_EVERY_SEC = 5.0  # they count what waits


class Relay:
    """The relay. Create it in the loop that runs it."""

    def __init__(self, context: WorkerContext, config: RelayConfig, hub_file: HubFile) -> None:
        settings = context.settings
        self._context = context
        layout = TableLayout.for_ring(settings.table_bytes, settings.table_mailboxes)
        self._table = TableReader(config.table.buffer, layout)
        self._hub = Hub(hub_file, self._on_ask, self._on_hub_change, lambda host: self._records.greet(host))
        sealer = Sealer(hub_file.secret, settings.state_dir)
        client = MailboxClient(context.epoch, config.requests, config.events, self._on_advanced)
        self._links: dict[str, HostLink] = {}
        self._records = HostRecords(
            self._hub,
            sealer,
            lambda: context.settings,
            hub_file.shard,
            self._present_agents,
            self._problems,
            self._waiting,
            self._on_open,
            lambda host: self._link_to(host).wake(),
        )
        self._parts = RelayParts(
            self._hub,
            client,
            ForwardReading(settings.state_dir),
            sealer,
            lambda: self._table.durable_id,
            context.metrics,
            self._records.shard_of,
            lambda host: host in self._records.removed,
            lambda: self._records.behind_ms,
        )
        self._inbound = Inbound(self._parts, self._start)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_requested = asyncio.Event()
        self._is_open = asyncio.Event()
        self._gauges_due_sec = 0.0

    async def run(self) -> None:
        """Works until STOP."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._context.control_fileno(), self._on_control_message)
        self._parts.client.send_hello()
        self._wake_all()
        for work in (self._work_with_hub, self._records.run):
            self._start(work)
        self._context.report_ready()
        while not self._stop_requested.is_set():
            self._context.beat()
            self._update_gauges()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), self._context.beat_interval_sec)
        for task in self._tasks:
            task.cancel()
        await self._hub.close()
        self._parts.client.close()
        self._parts.reading.close()

    def _update_gauges(self) -> None:
        if time.monotonic() < self._gauges_due_sec:
            return
        self._gauges_due_sec = time.monotonic() + GAUGES_EVERY_SEC
        try:
            count, oldest_id = self._parts.reading.backlog()
        except sqlite3.Error as error:  # the command-queue reports what is wrong with the database
            log.debug("backlog not counted", error=str(error))
            return
        metrics = self._context.metrics
        metrics.set(HUB_OPEN.at, int(self._hub.is_connected and self._hub.is_open))
        metrics.set(HUB_WAITING.at, count)
        metrics.set(HUB_OLDEST_MS.at, max(0, now_ms() - milliseconds_of(oldest_id)) if count else 0)

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Starts work that never ends. After an exception it begins again: a relay that ends over and over would take
        the daemon, and local mail, along.
        """

        async def go_on() -> None:
            while True:
                try:
                    await work()
                except Exception as error:  # noqa: BLE001 - of any cause: a full disk, a damaged row
                    log.exception("relay work failed, trying again", error=repr(error))
                    await asyncio.sleep(RETRY_SEC)

        self._tasks.add(asyncio.create_task(go_on()))

    def _on_control_message(self) -> None:
        if self._context.stop_requested():
            self._stop_requested.set()

    async def _work_with_hub(self) -> None:
        """Takes what the hub delivers, for as long as the relay runs."""
        if not self._hub.is_connected:
            await self._hub.connect()
        may_have_lost = True  # what the hub has delivered: to an earlier relay, or over a connection that broke
        while True:
            await self._is_open.wait()
            if not self._hub.is_open:  # another machine has taken the name
                self._is_open.clear()
                may_have_lost = True
                continue
            try:
                if may_have_lost:
                    await self._hub.renew()
                    may_have_lost = False
                if not await self._hub.pull(self._inbound.take):
                    await self._hub.mend()
            except HubUnreachable as error:
                log.debug("pull ended", error=str(error))
                may_have_lost = True
                await asyncio.sleep(RETRY_SEC)
                if self._hub.is_closed:
                    await self._hub.connect()

    def _on_hub_change(self) -> None:
        is_connected = self._hub.is_connected
        log.info("hub reached" if is_connected else "hub lost", host=self._hub.host)
        self._records.refresh()
        if is_connected:
            self._wake_links()

    def _on_open(self) -> None:
        log.info("mail is exchanged with other hosts", host=self._hub.host)
        self._is_open.set()
        self._wake_links()

    def _wake_links(self) -> None:
        for link in self._links.values():
            link.wake()

    # -- hosts ----------------------------------------------------------------------------------------------------

    def _on_advanced(self, advanced: HighWaterMarkAdvanced) -> None:
        """Wakes the links of the hosts that new mail or receipts are for."""
        if not (advanced.mailboxes or advanced.senders):
            self._wake_all()
            return
        hosts = {host_of(name) for name in advanced.mailboxes if has_host(name)}
        for host in hosts:
            self._link_to(host).wake()
        for host in {host_of(name) for name in advanced.senders if has_host(name)} - hosts:
            self._link_to(host).wake_soon()

    def _wake_all(self) -> None:
        for host in self._parts.reading.waiting_hosts():
            self._link_to(host).wake()

    def _link_to(self, host: str) -> HostLink:
        link = self._links.get(host)
        if link is None:
            link = self._links[host] = HostLink(host, self._parts)
            self._start(link.run)
        return link

    async def _on_ask(self, host: str, data: bytes) -> bytes | None:
        """Answers the question of a host what is stored of it, or takes its own report; nothing if this is a copy."""
        parts = self._parts
        if host == self._hub.host:
            return self._records.answer_claim(data)
        if not self._hub.is_open:
            return None
        try:
            body: ReportBody = open_report(data, host, self._hub.host, parts.sealer)
            if not body.runs:
                await self._link_to(host).take_report(body)
                return None
            return seal_report(await self._inbound.answer(host, body.runs), parts.sealer)
        except (KeyMissing, Unreadable, sqlite3.Error) as error:
            log.warning("question of a host not answered", host=host, error=str(error))
            return None

    def _waiting(self) -> dict[str, tuple[int, int]]:
        try:
            return self._parts.reading.waiting()
        except sqlite3.Error as error:  # the command-queue reports what is wrong with the database
            log.debug("waiting messages not counted", error=str(error))
            return {}

    def _problems(self) -> dict[str, str]:
        return {host: link.problem for host, link in self._links.items()}

    def _present_agents(self) -> list[str]:
        present = [
            name
            for name, counts in self._table.all_counts()
            if not has_host(name) and (counts.subscribers > 0 or now_ms() - counts.last_seen_ms < ALIVE_MS)
        ]
        return sorted(present)[:AGENTS_SHOWN]
