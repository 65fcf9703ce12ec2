"""AsyncMailroom — the asyncio client.

Its twin is `blocking.Mailroom`, which has the same methods with the same arguments. `calls` builds the requests,
`transport` makes single attempts, and `retry` decides on the next one; this module connects them.
"""

# ruff: noqa: ASYNC109 - `timeout` bounds all attempts and travels to the daemon: asyncio.timeout cannot replace it

__all__ = ["AsyncMailroom"]

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, Unpack

from mailroom import calls
from mailroom.agents import AgentInfo
from mailroom.bulk import AsyncBulk
from mailroom.credentials import find_credentials
from mailroom.drafts import Draft
from mailroom.errors import MailroomError
from mailroom.messages import Acknowledgement, Inbox, Message, MessagePage, SendOutcome, SentMessage, TrackedMessage
from mailroom.options import AccessOptions, ListOptions, SendOptions, Span, SubscribeOptions
from mailroom.pipeline import AsyncPipeline
from mailroom.records import Page
from mailroom.retry import Retries
from mailroom.states import Health
from mailroom.stats import MailboxStats, MetricSample, QueueStats, Status, Traffic
from mailroom.subscriptions import AsyncSubscription
from mailroom.transport import AsyncTransport

Result = TypeVar("Result")
Invoke = Callable[[calls.Call[Result], float], Awaitable[Result]]


class AsyncMailroom:
    """A client of Mailroom, for use in one event loop.

    Args:
        address: `unix:PATH` or `HOST:PORT`; located automatically by default.
        sender: the name to send under; MAILROOM_AGENT by default.
        timeout: seconds for one call including its retries, unless the call has a timeout of its own.
        grace: seconds to look for a daemon that has never answered before DaemonNotRunning is raised.
        access: a token and TLS files; see `AccessOptions`.

    Every method may raise a MailroomError; `mailroom.errors` lists the kinds.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        sender: str | None = None,
        timeout: float = 30.0,
        grace: float = 2.0,
        **access: Unpack[AccessOptions],
    ) -> None:
        self._transport = AsyncTransport(address, find_credentials(access))
        self._pipeline = AsyncPipeline(self._transport)
        self._sender = sender if sender is not None else os.environ.get("MAILROOM_AGENT") or None
        self._timeout = timeout
        self._grace = grace

    @property
    def sender(self) -> str | None:
        """The default sender of this client."""
        return self._sender

    @property
    def address(self) -> str:
        """The daemon's address, or the address where it is expected."""
        return self._transport.contact.address.text

    async def send(
        self, to: str, content: str, *, timeout: float | None = None, **options: Unpack[SendOptions]
    ) -> SentMessage:
        """Sends one message and returns once it is durable. Retries share one key and never duplicate it.

        What several tasks send at the same time shares a stream. Each has its own timeout and error.

        Args:
            to: an agent's name, a session id, or `agent@team`.
            content: up to 1 MiB of UTF-8.
            timeout: seconds for all attempts.
            options: see `SendOptions`.
        """
        return await self._run(calls.send(to, content, self._sender, options), timeout, self._pipeline.invoke)

    async def broadcast(
        self, recipients: Sequence[str], content: str, *, timeout: float | None = None, **options: Unpack[SendOptions]
    ) -> list[SendOutcome]:
        """Sends a copy to each recipient; returns the outcomes in the same order, failures included."""
        return await self._run(calls.broadcast(recipients, content, self._sender, options), timeout)

    def send_many(
        self, drafts: Iterable[Draft] | AsyncIterable[Draft], *, timeout: float | None = None
    ) -> AsyncIterator[SendOutcome]:
        """Sends drafts in bulk; yields their outcomes in order, failures included, without content and metadata.

        Sending starts when the first outcome is requested and runs at most about 1,000 drafts ahead: a consumer that
        stops iterating stops the sending. A broken stream is resumed without duplicates. Drafts travel in batches of
        250, so for a slow source `send` has the lower latency.

        Args:
            drafts: any number of drafts, from a synchronous or an asynchronous iterable.
            timeout: seconds without progress before giving up.

        Raises:
            MailroomError: there was no progress within the timeout. Sending the remaining drafts again is safe if
                they have idempotency keys of their own.
        """
        bulk = AsyncBulk(self._transport, lambda: self._retries(timeout), lambda call: self._run(call, timeout))
        return bulk.outcomes(drafts, self._sender)

    def subscribe(self, agent: str | None = None, **options: Unpack[SubscribeOptions]) -> AsyncSubscription:
        """Returns an asynchronous iterator over an agent's events that reconnects and resumes automatically.

        Once the daemon has answered, it waits for it without limit.

        Args:
            agent: the agent, unless `all_agents` is set.
            options: see `SubscribeOptions`.
        """
        return AsyncSubscription(self._transport, agent, options, self._grace)

    async def check_inbox(
        self,
        agent: str,
        *,
        limit: int | None = None,
        wait: Span | None = None,
        observe: bool = False,
        unoffered_only: bool = False,
        newest_first: bool = False,
        timeout: float | None = None,
    ) -> Inbox:
        """Returns unread messages, oldest first. Marks none as read.

        Args:
            agent: the recipient.
            limit: the maximum number of messages, 50 by default.
            wait: how long to wait for the first message, in addition to the timeout.
            observe: do not mark the messages as offered.
            unoffered_only: skip messages that were offered before. A response that is lost in transit counts as
                offered; where that matters, set `observe` and call `mark_offered` afterwards.
            newest_first: reverse the order.
            timeout: seconds for all attempts.
        """
        call = calls.check_inbox(
            agent,
            limit=limit,
            wait=wait,
            observe=observe,
            unoffered_only=unoffered_only,
            newest_first=newest_first,
        )
        return await self._run(call, timeout)

    async def acknowledge(
        self, agent: str, ids: str | Iterable[str], *, by: str | None = None, timeout: float | None = None
    ) -> Acknowledgement:
        """Marks messages as read and removes their inbox files. Repeating it is harmless.

        Args:
            agent: whose messages.
            ids: of one message or several.
            by: who acknowledges them in the agent's place, for the history; the agent by default.
            timeout: seconds for all attempts.
        """
        return Acknowledgement.joined([await self._run(call, timeout) for call in calls.acknowledge(agent, ids, by)])

    async def mark_offered(self, agent: str, ids: str | Iterable[str], *, timeout: float | None = None) -> None:
        """Records that messages were offered to their recipient by other means."""
        for call in calls.mark_offered(agent, ids):
            await self._run(call, timeout)

    async def get_message(self, message_id: str, *, timeout: float | None = None) -> TrackedMessage:
        """Returns a message with its delivery state and history."""
        return await self._run(calls.get_message(message_id), timeout)

    async def list_messages(
        self,
        agent: str | None = None,
        *,
        page_token: str = "",
        timeout: float | None = None,
        **options: Unpack[ListOptions],
    ) -> MessagePage:
        """Returns one page of a mailbox, newest first.

        Args:
            agent: the mailbox; every mailbox by default.
            page_token: the previous page's `next_page_token`; "" for the first page.
            timeout: seconds for all attempts.
            options: see `ListOptions`.
        """
        return await self._run(calls.list_messages(agent, page_token, options), timeout)

    async def iter_messages(self, agent: str | None = None, **options: Unpack[ListOptions]) -> AsyncIterator[Message]:
        """Yields all messages of one mailbox or of every mailbox, newest first, and fetches pages on demand."""
        token: str | None = ""
        while token is not None:
            page = await self.list_messages(agent, page_token=token, **options)
            for message in page:
                yield message
            token = page.next_page_token or None

    def search(
        self,
        query: str,
        agent: str | None = None,
        *,
        unread_only: bool = False,
        thread_id: str | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Message]:
        """Yields the messages that match a query, newest first; `ListOptions` describes the syntax.

        Args:
            query: the search expression.
            agent: the mailbox; every mailbox by default.
            unread_only: skip messages that are read.
            thread_id: only messages of this thread.
            page_size: the number of messages to fetch at once.
        """
        return self.iter_messages(agent, query=query, unread_only=unread_only, thread_id=thread_id, page_size=page_size)

    async def clear(self, agent: str, *, by: str | None = None, timeout: float | None = None) -> int:
        """Deletes every message of a mailbox and its inbox files; returns the number of deleted messages.

        A large mailbox is deleted in portions. After a failure some messages may be left: call it again.

        Args:
            agent: whose mailbox.
            by: who clears it in the agent's place, for the daemon's log; the agent by default.
            timeout: seconds for all attempts.
        """
        return await self._run(calls.clear(agent, by), timeout)

    async def stats(self, agent: str | None = None, *, timeout: float | None = None) -> list[MailboxStats]:
        """Returns the message counts of one mailbox, or of every mailbox, ordered by name."""
        return await self._fetch_all(partial(calls.stats, agent), timeout)

    async def traffic(self, period: Span = 3600.0, *, timeout: float | None = None) -> Traffic:
        """Returns how many messages each sender sent to each mailbox in a period until now, by default an hour."""
        return await self._run(calls.traffic(period), timeout)

    async def queue_stats(self, session: str | None = None, *, timeout: float | None = None) -> list[QueueStats]:
        """Returns the number of pending inbox files for each session that has any."""
        return await self._fetch_all(partial(calls.queue_stats, session), timeout)

    async def set_alias(
        self, agent: str, session: str, *, ttl: Span | None = None, timeout: float | None = None
    ) -> datetime | None:
        """Makes a session an alias of an agent: mail for the session then goes to the agent's mailbox.

        Args:
            agent: the agent's permanent name.
            session: the name that changes with every start.
            ttl: the lifetime from now on, 24 hours by default; 0 removes the alias.
            timeout: seconds for all attempts.

        Returns:
            When the alias expires; None if it was removed.
        """
        return await self._run(calls.set_alias(agent, session, ttl), timeout)

    async def agents(
        self, *, alive_only: bool = False, all_hosts: bool = False, timeout: float | None = None
    ) -> list[AgentInfo]:
        """Returns the known agents, by name, and whether each is alive; with `all_hosts` also those elsewhere."""
        return await self._fetch_all(partial(calls.agents, alive_only, all_hosts), timeout)

    async def status(self, *, timeout: float | None = None) -> Status:
        """Returns the daemon's version and its workers."""
        return await self._run(calls.get_status(), timeout)

    async def metrics(self, *, timeout: float | None = None) -> list[MetricSample]:
        """Returns the daemon's metrics."""
        return await self._run(calls.get_metrics(), timeout)

    async def health(self, *, timeout: float | None = None) -> Health:
        """Returns whether the daemon accepts messages now."""
        return await self._run(calls.health(), timeout)

    async def close(self) -> None:
        """Ends every call and subscription. Repeating it is harmless."""
        await self._transport.close()
        await self._pipeline.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(
        self, call: calls.Call[Result], timeout: float | None, invoke: "Invoke[Result] | None" = None
    ) -> Result:
        """Makes attempts until one succeeds; `invoke` makes one, by default in a call of its own."""
        invoke = invoke or self._transport.invoke
        retries = self._retries(timeout, call.extra_sec)
        while True:
            try:
                return await invoke(call, retries.remaining_sec())
            except MailroomError as error:
                await asyncio.sleep(retries.delay_after(error))

    async def _fetch_all(
        self, call_for_page: Callable[[str], calls.Call[Page[Result]]], timeout: float | None
    ) -> list[Result]:
        """Fetches every page; `call_for_page` builds the call for a page token."""
        page = await self._run(call_for_page(""), timeout)
        items = list(page.items)
        while page.next_token:
            page = await self._run(call_for_page(page.next_token), timeout)
            items += page.items
        return items

    def _retries(self, timeout: float | None, extra_sec: float = 0.0) -> Retries:
        timeout_sec = (self._timeout if timeout is None else timeout) + extra_sec
        return Retries(self._transport.contact, grace_sec=self._grace, timeout_sec=timeout_sec)
