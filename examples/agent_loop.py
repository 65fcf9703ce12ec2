"""An agent: answers each message in its mailbox, then marks it read. Unread mail from before its start comes first."""

from mailroom import Mailroom, Message

NAME = "shouter"


def answer(message: Message) -> str:
    """Returns the reply to a message: what a real agent would think about."""
    return message.content.upper()


def main() -> None:
    """Runs until it is told to stop."""
    with Mailroom(sender=NAME) as room, room.subscribe(NAME, include_unread=True) as mail:
        for message in mail:
            if not isinstance(message, Message):
                continue
            if message.content != "stop":
                # If it crashes before the acknowledgement, it answers again; the key makes that the same message.
                key = f"reply-to-{message.id}"
                room.send(message.sender, answer(message), in_reply_to=message.id, idempotency_key=key)
            room.acknowledge(NAME, message.id)
            if message.content == "stop":
                return


if __name__ == "__main__":
    main()
