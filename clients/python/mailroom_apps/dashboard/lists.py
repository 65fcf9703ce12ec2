"""Lists — pages of messages, by the daemon's filters and by those that only the dashboard has.

Type and priority are filtered here, from the daemon's pages. A page of the answer may therefore hold few messages, or
none, and still have a successor.
"""

__all__ = ["Filters", "export_lines", "list_page"]

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from mailroom.aio import AsyncMailroom
from mailroom.messages import Message, MessagePage
from mailroom.options import ListOptions

from mailroom_apps.dashboard.views import PREVIEW_BYTES, message_view

PAGE_SIZE = 200
FILTERED_PAGE_SIZE = 1_000
MAX_PAGES = 5  # of the daemon, for one page of the answer
MAX_EXPORTED = 100_000  # messages of one file


@dataclass(frozen=True, slots=True)
class Filters:
    """Which messages to list; an empty text means any.

    Attributes:
        agent: the recipient's mailbox.
        sender, type, state, priority: as in the message.
        thread: its thread.
        query: the daemon's full-text search.
    """

    agent: str = ""
    sender: str = ""
    type: str = ""
    state: str = ""
    priority: str = ""
    thread: str = ""
    query: str = ""

    @classmethod
    def read(cls, values: Mapping[str, str]) -> "Filters":
        """Returns the filters of a query string."""
        return cls(
            agent=values.get("to", ""),
            sender=values.get("from", ""),
            type=values.get("type", ""),
            state=values.get("state", ""),
            priority=values.get("priority", ""),
            thread=values.get("thread", ""),
            query=values.get("q", ""),
        )

    def matches(self, message: Message) -> bool:
        """Returns whether a message passes the filters that the daemon does not have."""
        return (
            self.type in ("", message.type)
            and self.priority in ("", message.priority)
            and self.state in ("", "unread", message.state)  # which may have changed since
        )

    @property
    def is_local(self) -> bool:
        """Whether the dashboard has to filter."""
        return bool(self.type or self.priority)

    async def read_page(self, client: AsyncMailroom, token: str, size: int, preview_bytes: int | None) -> MessagePage:
        """Returns one of the daemon's pages.

        Raises:
            MailroomError: the daemon does not answer, or refuses a filter.
        """
        options = ListOptions(
            unread_only=self.state == "unread",
            thread_id=self.thread or None,
            query=self.query or None,
            sender=self.sender or None,
            states=[self.state] if self.state not in ("", "unread") else None,
            page_size=size,
            preview_bytes=preview_bytes,
        )
        return await client.list_messages(self.agent or None, page_token=token, **options)


async def list_page(client: AsyncMailroom, filters: Filters, token: str) -> dict[str, Any]:
    """Returns one page of messages, newest first, and the token of the next one.

    Raises:
        MailroomError: the daemon does not answer, or refuses a filter.
    """
    found: list[Message] = []
    scanned = 0
    for _ in range(MAX_PAGES):
        size = FILTERED_PAGE_SIZE if filters.is_local else PAGE_SIZE
        page = await filters.read_page(client, token, size, PREVIEW_BYTES)
        scanned += len(page)
        found += filter(filters.matches, page)
        token = page.next_page_token
        if not token or len(found) >= PAGE_SIZE or not filters.is_local:
            break
    return {"messages": [message_view(message) for message in found], "next": token, "scanned": scanned}


async def export_lines(client: AsyncMailroom, filters: Filters) -> AsyncIterator[bytes]:
    """Yields the whole list as JSON lines, newest first, in the form of `mailroom export`.

    Raises:
        MailroomError: the daemon does not answer, or refuses a filter.
    """
    count, token = 0, ""
    while count < MAX_EXPORTED:
        page = await filters.read_page(client, token, PAGE_SIZE, None)
        lines = [orjson.dumps(message.to_dict()) + b"\n" for message in page if filters.matches(message)]
        count += len(lines)
        yield b"".join(lines)
        token = page.next_page_token
        if not token:
            return
