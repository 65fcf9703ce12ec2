"""Sends a task to several workers at once and gathers their results, with asyncio."""

import asyncio

from mailroom import AsyncMailroom

WORKERS = ("worker-1", "worker-2", "worker-3")


async def work(room: AsyncMailroom, name: str) -> None:
    """Waits for one task and answers it."""
    for task in await room.check_inbox(name, wait=30):
        await room.send(task.sender, f"{name} finished {task.content}", sender=name, in_reply_to=task.id)
        await room.acknowledge(name, task.id)


async def main() -> None:
    """Hands out the task, then prints each result as it arrives."""
    async with AsyncMailroom(sender="planner") as room, asyncio.TaskGroup() as group:
        for name in WORKERS:
            group.create_task(work(room, name))
        await room.broadcast(WORKERS, "the report")
        missing = len(WORKERS)
        while missing:
            for result in await room.check_inbox("planner", wait=30):
                print(result.content)
                await room.acknowledge("planner", result.id)
                missing -= 1


if __name__ == "__main__":
    asyncio.run(main())
