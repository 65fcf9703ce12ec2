"""AsyncMailroom — the client for asyncio.

Its twin is `blocking.Mailroom`: the same methods with the same arguments. Requests are built in `calls`,
single attempts are made by `transport`, `retry` decides on the next one; this module ties them together.
"""

# ruff: noqa: ASYNC109 - `timeout` bounds all attempts and travels to the daemon: asyncio.timeout is no substitute

__all__ = ["AsyncMailroom"]

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
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
from mailroom.records import Page
from mailroom.retry import Retries
from mailroom.states import Health
from mailroom.stats import MailboxStats, MetricSample, QueueStats, Status
from mailroom.subscriptions import AsyncSubscription
from mailroom.transport import AsyncTransport

Result = TypeVar("Result")


class AsyncMailroom:
    """A client of the mail room, for one event loop.

    Args:
        address: `unix:PATH` or `HOST:PORT`; found by itself when left out.
        sender: the name to send under; MAILROOM_AGENT when left out.
        timeout: seconds for a call with all its retries, unless the call says otherwise.
        grace: seconds to look for a daemon that never answered before DaemonNotRunning is raised.
        access: a token and TLS files, see `AccessOptions`.

    Every method raises MailroomError: see `mailroom.errors` for its kinds.
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
        self._sender = sender if sender is not None else os.environ.get("MAILROOM_AGENT") or None
        self._timeout = timeout
        self._grace = grace

    @property
    def sender(self) -> str | None:
        """The name that is sent under unless a call says otherwise."""
        return self._sender

    @property
    def address(self) -> str:
        """Where the daemon is, or should be."""
        return self._transport.contact.address.text

    async def send(
        self, to: str, content: str, *, timeout: float | None = None, **options: Unpack[SendOptions]
    ) -> SentMessage:
        """Sends one message; returns once it is durable. Retries never double it: they carry one key.

        Args:
            to: a session id, or agent@team.
            content: up to 1 MiB of UTF-8.
            timeout: seconds for all attempts.
            options: see `SendOptions`.
        """
        return await self._run(calls.send(to, content, self._sender, options), timeout)

    async def broadcast(
        self, recipients: Sequence[str], content: str, *, timeout: float | None = None, **options: Unpack[SendOptions]
    ) -> list[SendOutcome]:
        """Sends a copy to each recipient; returns the outcomes in their order, failed ones included."""
        return await self._run(calls.broadcast(recipients, content, self._sender, options), timeout)

    def send_many(
        self, drafts: Iterable[Draft] | AsyncIterable[Draft], *, timeout: float | None = None
    ) -> AsyncIterator[SendOutcome]:
        """Sends drafts in bulk; yields their outcomes in order, failed ones included, without content and metadata.

        Nothing is sent before the first outcome is asked for, and only about 1,000 drafts are taken ahead of the
        outcomes: who stops asking stops the sending. A stream that breaks is resumed, and nothing is doubled. Drafts
        travel 250 together: for those of a slow source, `send` is quicker.

        Args:
            drafts: any number, from a generator of either kind as well.
            timeout: seconds to go on without progress.

        Raises:
            MailroomError: there was no progress for so long. Repeating the rest is safe where the drafts have keys of
                their own.
        """
        bulk = AsyncBulk(self._transport, lambda: self._retries(timeout), lambda call: self._run(call, timeout))
        return bulk.outcomes(drafts, self._sender)

    def subscribe(self, agent: str | None = None, **options: Unpack[SubscribeOptions]) -> AsyncSubscription:
        """Returns an asynchronous iterator over what reaches an agent, which reconnects and resumes by itself.

        It waits for the daemon without limit once that has answered.

        Args:
            agent: whose mail, unless `all_agents`.
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
        """Returns unread messages, oldest first; marks none read.

        Args:
            agent: whose mail.
            limit: at most so many; 50 when left out.
            wait: how long to wait for the first one. The timeout comes on top.
            observe: look on: hands nothing over.
            unoffered_only: leave out what was handed over before. An answer that is lost on the way counts as handed
                over: where that matters, add `observe` and call `mark_offered` afterwards.
            newest_first: turn the order round.
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
        self, agent: str, ids: str | Iterable[str], *, timeout: float | None = None
    ) -> Acknowledgement:
        """Marks messages read and takes their inbox files away. Repeating it is harmless."""
        return Acknowledgement.joined([await self._run(call, timeout) for call in calls.acknowledge(agent, ids)])

    async def mark_offered(self, agent: str, ids: str | Iterable[str], *, timeout: float | None = None) -> None:
        """Records that messages were handed to the recipient by other means."""
        for call in calls.mark_offered(agent, ids):
            await self._run(call, timeout)

    async def get_message(self, message_id: str, *, timeout: float | None = None) -> TrackedMessage:
        """Returns a message and how far it has come."""
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
            agent: whose mail; every mailbox when left out.
            page_token: the page before's `next_page_token`; "" for the first.
            timeout: seconds for all attempts.
            options: see `ListOptions`.
        """
        return await self._run(calls.list_messages(agent, page_token, options), timeout)

    async def iter_messages(self, agent: str | None = None, **options: Unpack[ListOptions]) -> AsyncIterator[Message]:
        """Yields a whole mailbox, or every one, newest first, fetching pages as it goes."""
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
        """Yields the messages that have all words of a query, newest first; see `ListOptions` for its syntax.

        Args:
            query: what to look for.
            agent: whose mail; every mailbox when left out.
            unread_only: leave out what is read.
            thread_id: only this thread.
            page_size: messages fetched at once.
        """
        return self.iter_messages(agent, query=query, unread_only=unread_only, thread_id=thread_id, page_size=page_size)

    async def clear(self, agent: str, *, timeout: float | None = None) -> int:
        """Deletes every message of a mailbox, and its inbox files; returns how many.

        A large mailbox is deleted in slices, so that a failure on the way leaves a part of it: call it again then.
        """
        return await self._run(calls.clear(agent), timeout)

    async def stats(self, agent: str | None = None, *, timeout: float | None = None) -> list[MailboxStats]:
        """Returns the counts of one mailbox, or of every one, by name."""
        return await self._all(partial(calls.stats, agent), timeout)

    async def queue_stats(self, session: str | None = None, *, timeout: float | None = None) -> list[QueueStats]:
        """Returns the counts of inbox files that nobody has taken yet; sessions without any are left out."""
        return await self._run(calls.queue_stats(session), timeout)

    async def set_alias(
        self, agent: str, session: str, *, ttl: Span | None = None, timeout: float | None = None
    ) -> datetime | None:
        """Says which agent is behind a session: while that lasts, mail for the session goes to the agent's mailbox.

        Args:
            agent: the name that lasts.
            session: the name that changes with every start.
            ttl: how long from now on; 24 hours when left out, 0 ends it.
            timeout: seconds for all attempts.

        Returns:
            When it expires; None when it was ended.
        """
        return await self._run(calls.set_alias(agent, session, ttl), timeout)

    async def agents(self, *, alive_only: bool = False, timeout: float | None = None) -> list[AgentInfo]:
        """Returns who has been here, by name, and whether they are alive."""
        return await self._all(partial(calls.agents, alive_only), timeout)

    async def status(self, *, timeout: float | None = None) -> Status:
        """Returns the daemon's version and workers."""
        return await self._run(calls.get_status(), timeout)

    async def metrics(self, *, timeout: float | None = None) -> list[MetricSample]:
        """Returns what the daemon has counted so far."""
        return await self._run(calls.get_metrics(), timeout)

    async def health(self, *, timeout: float | None = None) -> Health:
        """Returns whether a send would work now."""
        return await self._run(calls.health(), timeout)

    async def close(self) -> None:
        """Ends every call and subscription. Closing twice is harmless."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, call: calls.Call[Result], timeout: float | None) -> Result:
        retries = self._retries(timeout, call.extra_sec)
        while True:
            try:
                return await self._transport.invoke(call, retries.remaining_sec())
            except MailroomError as error:
                await asyncio.sleep(retries.delay_after(error))

    async def _all(self, page_at: Callable[[str], calls.Call[Page[Result]]], timeout: float | None) -> list[Result]:
        """Fetches every page; `page_at` makes the call for the page behind a token."""
        page = await self._run(page_at(""), timeout)
        items = list(page.items)
        while page.next_token:
            page = await self._run(page_at(page.next_token), timeout)
            items += page.items
        return items

    def _retries(self, timeout: float | None, extra_sec: float = 0.0) -> Retries:
        timeout_sec = (self._timeout if timeout is None else timeout) + extra_sec
        return Retries(self._transport.contact, grace_sec=self._grace, timeout_sec=timeout_sec)
