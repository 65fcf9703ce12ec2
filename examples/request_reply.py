"""Asks a question and waits for the answer to it. Run it against any agent that replies, such as agent_loop.py."""

import sys

from mailroom import Mailroom, Message


def ask(room: Mailroom, agent: str, question: str) -> str:
    """Returns an agent's answer to a question."""
    sent = room.send(agent, question)
    with room.subscribe(room.sender, after_id=sent.id) as replies:  # misses nothing, not even a reply that came first
        for event in replies:
            if isinstance(event, Message) and event.in_reply_to == sent.id:
                room.acknowledge(event.recipient, event.id)
                return event.content
    raise RuntimeError("the subscription was closed")


if __name__ == "__main__":
    with Mailroom(sender="alice") as client:
        print(ask(client, "shouter", " ".join(sys.argv[1:]) or "hello?"))
