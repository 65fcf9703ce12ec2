"""Sends one message, reads it, and marks it read."""

from mailroom import Mailroom


def main() -> None:
    """Plays both sides; two programs would do the same."""
    with Mailroom() as room:
        sent = room.send("bob", "The build is green.", sender="alice", metadata={"build": 7})
        print(f"alice sent {sent.id}, which is {sent.delivery.state}")
        for message in room.check_inbox("bob", wait=10):
            print(f"bob received from {message.sender}: {message.content} {message.metadata}")
            room.acknowledge("bob", message.id)


if __name__ == "__main__":
    main()
