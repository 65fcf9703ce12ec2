"""Lists — pages of messages, by the daemon's filters and by those that only the dashboard has.

Sender, type, state and priority are filtered here, from the daemon's pages. A page of the answer may therefore hold few
messages, or none, and still have a successor.
"""

__all__ = ["Filters", "list_page"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailroom.aio import AsyncMailroom
from mailroom.messages import Message

from mailroom_apps.dashboard.views import message_view

PAGE_SIZE = 200
FILTERED_PAGE_SIZE = 1_000
MAX_PAGES = 5  # of the daemon, for one page of the answer


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
            self.sender in ("", message.sender)
            and self.type in ("", message.type)
            and self.priority in ("", message.priority)
            and (self.state in ("", "unread", message.state))
        )

    @property
    def is_local(self) -> bool:
        """Whether the dashboard has to filter."""
        return bool(self.sender or self.type or self.priority or self.state not in ("", "unread"))


async def list_page(client: AsyncMailroom, filters: Filters, token: str) -> dict[str, Any]:
    """Returns one page of messages, newest first, and the token of the next one.

    Raises:
        MailroomError: the daemon does not answer, or refuses a filter.
    """
    found: list[Message] = []
    scanned = 0
    for _ in range(MAX_PAGES):
        page = await client.list_messages(
            filters.agent or None,
            unread_only=filters.state == "unread",
            thread_id=filters.thread or None,
            query=filters.query or None,
            page_size=FILTERED_PAGE_SIZE if filters.is_local else PAGE_SIZE,
            page_token=token,
        )
        scanned += len(page)
        found += filter(filters.matches, page)
        token = page.next_page_token
        if not token or len(found) >= PAGE_SIZE or not filters.is_local:
            break
    return {"messages": [message_view(message) for message in found], "next": token, "scanned": scanned}
