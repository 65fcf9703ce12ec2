"""paging — merges the pages of several mailboxes, and of messages, receipts and responses, into one.

Invariant: a merged page never skips an item that one of its parts has yet to read.
"""

__all__ = ["AnnouncementPage", "merge_announcements", "merge_listed", "merge_unread", "page_of"]

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from mailroomd.model.announcement import Announcement
from mailroomd.model.message import Message
from mailroomd.model.page import Page


class AnnouncementPage(Page[Announcement]):
    """What follows a cursor.

    Attributes:
        cursor: the new cursor: everything up to it has been read.
        position: a hint for reading on.
    """

    cursor: int = 0
    position: int = 0


def page_of(messages: Iterable[Message], *, is_cut: bool) -> Page[Message]:
    """Returns messages as a page."""
    page = Page(messages)
    page.is_cut = is_cut
    return page


def merge_announcements(parts: Sequence[Page[Any]], through_id: int) -> AnnouncementPage:
    """Returns what several reads found after one cursor, in order, as far as all of them have read.

    Args:
        parts: the pages.
        through_id: how far a page that was not cut has read.
    """
    page = AnnouncementPage()
    page.cursor = min((part[-1].id for part in parts if part.is_cut), default=through_id)
    page.extend(sorted((item for part in parts for item in part if item.id <= page.cursor), key=lambda item: item.id))
    page.is_cut = any(part.is_cut for part in parts)
    return page


def merge_unread(parts: Sequence[Page[Message]], limit: int, budget_bytes: int, *, newest_first: bool) -> Page[Message]:
    """Returns the unread messages of several mailboxes in order, within both bounds."""
    if len(parts) == 1:
        return parts[0]
    messages = sorted(chain(*parts), key=lambda message: message.id, reverse=newest_first)
    room = budget_bytes
    for count, message in enumerate(messages):
        room -= len(message.draft.content)
        if count == limit or (room < 0 and count):
            return page_of(messages[:count], is_cut=True)
    return page_of(messages, is_cut=any(part.is_cut for part in parts))


def merge_listed(parts: Sequence[Page[Message]], limit: int) -> Page[Message]:
    """Returns the messages of several mailboxes, newest first."""
    if len(parts) == 1:
        return parts[0]
    messages = sorted(chain(*parts), key=lambda message: message.id, reverse=True)
    cut_at_id = max((part[-1].id for part in parts if part.is_cut), default=0)
    kept = [message for message in messages if message.id >= cut_at_id][:limit]
    return page_of(kept, is_cut=len(kept) < len(messages) or cut_at_id > 0)
