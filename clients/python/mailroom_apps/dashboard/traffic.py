"""Traffic — who sent how much to whom in a period, counted from the latest messages.

The daemon has no such counts, so the messages are listed; the answer says how far back that reached.
"""

__all__ = ["count_traffic"]

import time
from collections import Counter
from typing import Any

from mailroom.aio import AsyncMailroom
from mailroom.messages import Message
from mailroom.records import iso_utc

MAX_MESSAGES = 10_000
PAGE_SIZE = 1_000


async def count_traffic(client: AsyncMailroom, period_sec: float) -> dict[str, Any]:
    """Returns the number of messages by sender and recipient, and since when they are counted.

    Raises:
        MailroomError: the daemon does not answer.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    begin, counted, token, is_complete = time.time() - period_sec, 0, "", False
    oldest: Message | None = None
    while counted < MAX_MESSAGES and not is_complete:
        page = await client.list_messages(page_size=PAGE_SIZE, page_token=token)
        for message in page:
            if message.timestamp and message.timestamp.timestamp() < begin:
                is_complete = True
                break
            pairs[message.sender, message.recipient] += 1
            oldest, counted = message, counted + 1
        token = page.next_page_token
        is_complete = is_complete or not token
    return {
        "pairs": [{"from": sender, "to": to, "count": count} for (sender, to), count in pairs.most_common()],
        "messages": counted,
        "since": iso_utc(oldest.timestamp) if oldest and oldest.timestamp else None,
        "complete": is_complete,
    }
