"""lines — what both Python adapters share: reading and writing JSON lines, and errors as JSON."""

__all__ = ["Json", "serve"]

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Json = dict[str, Any]
Write = Callable[[Json], None]


def write(line: Json) -> None:
    """Writes one line."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def serve(hello: Json, handle: Callable[[Json, Write], Awaitable[Json]]) -> None:
    """Reads lines until the input ends; `handle` returns the last line of each operation, without its id."""
    write({"hello": hello})
    loop, tasks = asyncio.get_running_loop(), dict[int, asyncio.Task[None]]()

    async def answer(line: Json) -> None:
        try:
            result = await handle(line, lambda event: write({"id": line["id"], **event}))
        except asyncio.CancelledError:
            code = {"code": "CANCELLED", "message": "cancelled by the program"}
            result = {"end" if line["op"] == "stream" else "error": code}
        write({"id": line["id"], **result})
        tasks.pop(line["id"], None)

    with ThreadPoolExecutor(1) as reader:
        while raw := await loop.run_in_executor(reader, sys.stdin.readline):
            line = json.loads(raw)
            if line["op"] == "cancel":
                if task := tasks.get(line["stream"]):
                    task.cancel()
            elif line["op"] == "open":
                await answer(line)
            else:
                tasks[line["id"]] = asyncio.create_task(answer(line))
    for task in list(tasks.values()):
        task.cancel()
