"""The builder waits for a task, acknowledges it, and answers with the result."""

import asyncio

from agent_tools import say, tools_of


async def main() -> None:
    """Runs the builder."""
    async with tools_of("builder") as tools:
        task = await tools.next_message()
        say("builder", f"received a task from {task['sender']}: {task['content']}")
        await tools.call("acknowledge_message", message_id=task["id"])
        await tools.call("reply", message_id=task["id"], content="built: 7 files, all tests pass")
        say("builder", "answered")


if __name__ == "__main__":
    asyncio.run(main())
