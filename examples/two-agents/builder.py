"""The builder waits for an order, carries it out, acknowledges it and answers."""

import asyncio

from desk import at_desk, say


async def main() -> None:
    """Plays the builder."""
    async with at_desk("builder") as desk:
        order = await desk.next_message()
        say("builder", f"has an order from {order['sender']}: {order['content']}")
        await desk.call("acknowledge_message", message_id=order["id"])
        await desk.call("reply", message_id=order["id"], content="built: 7 files, all tests pass")
        say("builder", "has answered")


if __name__ == "__main__":
    asyncio.run(main())
