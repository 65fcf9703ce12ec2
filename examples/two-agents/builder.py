"""The builder waits for a task, acknowledges it, and answers with the result."""

import asyncio

from desk import at_desk, say


async def main() -> None:
    """Runs the builder."""
    async with at_desk("builder") as desk:
        task = await desk.next_message()
        say("builder", f"received a task from {task['sender']}: {task['content']}")
        await desk.call("acknowledge_message", message_id=task["id"])
        await desk.call("reply", message_id=task["id"], content="built: 7 files, all tests pass")
        say("builder", "answered")


if __name__ == "__main__":
    asyncio.run(main())
