"""load_program — the process in which a load runs: started by `run_load`, it ends when its standard input does.

It ends once every sender has its answer (or its patience is over) and the subscribers have seen the last message. It
speaks by raw stubs: the daemon is tested here, not the SDK. Owns the order of its beginning and end, and the watch over
the database's order. Not here: who does what (`load_habits`), the streams (`load_streams`).
"""

import asyncio
import json
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from mailroom.v1 import mailroom_pb2 as pb
from support.faults.load_context import LoadContext
from support.faults.load_habits import everybody, set_steady_alias
from support.faults.load_plan import FIRST_MAILBOX, LoadPlan
from support.faults.load_streams import LoadStreams
from support.harness.contract import async_stubs

ORDER_EVERY_SEC = 0.05  # how often the database's newest ids are looked at


async def _run(context: LoadContext) -> None:
    directory = Path(context.plan.directory)
    for name in ("sends", "troubles"):
        (directory / f"{name}.jsonl").touch()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), context.ending.set)
    streams = LoadStreams(context)
    watching = asyncio.create_task(_watch_order(context))
    await streams.wait_until_caught_up()
    await set_steady_alias(context)
    (directory / "started").touch()
    habits = [asyncio.create_task(habit) for habit in everybody(context)]
    await context.ending.wait()
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    context.give_up_at = time.monotonic() + context.plan.patience_sec
    await asyncio.gather(*habits)
    await _send_the_last(context, streams)
    await streams.end()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def _send_the_last(context: LoadContext, streams: LoadStreams) -> None:
    """Sends one message more, behind all others, and waits until the subscribers have seen it."""
    context.give_up_at = time.monotonic() + context.plan.patience_sec
    request = pb.SendMessageRequest(recipient=FIRST_MAILBOX, sender="last", content="last", idempotency_key="last")
    if not await context.send_until_answered(request, context.chance("last")):
        context.trouble("sender last", "the last message is never acknowledged")
        return
    answer = await context.retried(lambda: context.stubs.send(request, timeout=5.0), "sender last")
    if answer is not None:
        await streams.see(answer.message.id)


async def _watch_order(context: LoadContext) -> None:
    """Notes the ids above the highest one so far, as they appear in the database."""
    highest = 0
    while True:
        with suppress(sqlite3.Error):
            with closing(sqlite3.connect(f"file:{context.plan.database}?mode=ro", uri=True, timeout=0.0)) as connection:
                rows = connection.execute("SELECT id FROM messages WHERE id > ? ORDER BY id", (highest,)).fetchall()
            if rows:
                highest = rows[-1][0]
                context.note("committed", ids=[number for (number,) in rows])
        await asyncio.sleep(ORDER_EVERY_SEC)


async def _main(plan: LoadPlan) -> None:
    channel, stubs = async_stubs(plan.address)
    async with channel:
        await _run(LoadContext(plan, stubs))


if __name__ == "__main__":
    asyncio.run(_main(LoadPlan(**json.loads(sys.argv[1]))))
