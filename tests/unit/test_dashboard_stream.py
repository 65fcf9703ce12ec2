"""A page's stream says at once what has become of the daemon."""

import asyncio

from mailroom.aio import AsyncMailroom
from mailroom_apps.dashboard.feed import Feed
from mailroom_apps.dashboard.stream import HEARTBEAT_SEC, Stream


def test_a_change_of_the_daemons_health_does_not_wait_for_the_next_heartbeat() -> None:
    described = {"health": "unreachable"}

    async def run() -> bytes:
        async with AsyncMailroom("unix:/nonexistent/m.sock") as client:
            feed = Feed(client, lambda _: None, lambda: None)
            chunks = Stream(feed, None, described.copy, lambda: True).chunks()
            assert b"unreachable" in await anext(chunks)
            told = asyncio.ensure_future(anext(chunks))
            await asyncio.sleep(0.05)
            assert not told.done()
            described["health"] = "serving"
            feed.wake()
            return await asyncio.wait_for(told, HEARTBEAT_SEC / 2)

    assert b'"health":"serving"' in asyncio.run(run())
