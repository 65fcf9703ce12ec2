"""Prints everything that happens in all mailboxes, from the beginning: the start of a dashboard or an audit log."""

import sys
from itertools import islice

from mailroom import CommandResponse, Event, Mailroom, Message, Receipt

THE_BEGINNING = "0" * 16  # leave `after_id` out to see only what is new


def describe(event: Event) -> str:
    """Returns one line about an event."""
    match event:
        case Message():
            return f"{event.sender} -> {event.recipient}: {event.content}"
        case Receipt():
            return f"{event.recipient}: message {event.message_id} is {event.state}"
        case CommandResponse():
            return f"{event.session_id} responded: {event.body}"
        case _:
            return ""


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else None
    with Mailroom() as room, room.subscribe(all_agents=True, after_id=THE_BEGINNING) as events:
        for event in islice(events, count):
            print(event.event_id, describe(event), flush=True)
