"""scenes — run a FakeDaemon for tests: in the loop of an asynchronous scene, or in a thread.

`play` runs one scene with either client against a fake in the same loop. `in_thread` serves blocking tests and
subprocesses.
"""

__all__ = ["BOUND_SEC", "InThread", "in_thread", "play", "running"]

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from mailroom import AsyncMailroom, Mailroom
from support.fakes.fake_daemon import FakeDaemon

Result = TypeVar("Result")

BOUND_SEC = 10  # no scene waits longer


@asynccontextmanager
async def running(directory: Path) -> AsyncGenerator[FakeDaemon, None]:
    """Runs a fake daemon in the current loop."""
    daemon = FakeDaemon(directory / "mailroom.sock")
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop()


class InThread:
    """A fake daemon that runs in a thread of its own; `do` runs a function in that thread."""

    def __init__(self, daemon: FakeDaemon, loop: asyncio.AbstractEventLoop) -> None:
        self.address = daemon.address
        self.daemon = daemon
        self._loop = loop

    def do(self, work: Callable[[FakeDaemon], Result]) -> Result:
        async def run() -> Result:
            return work(self.daemon)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(BOUND_SEC)

    def wait_until(self, condition: Callable[[FakeDaemon], bool]) -> None:
        waiting = self.daemon.wait_until(lambda: condition(self.daemon))
        asyncio.run_coroutine_threadsafe(waiting, self._loop).result(BOUND_SEC)


@contextmanager
def in_thread(directory: Path) -> Generator[InThread, None, None]:
    """Runs a fake daemon in a thread, for blocking tests and subprocesses."""
    ready: list[InThread] = []
    started, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with running(directory) as daemon:
            ready.append(InThread(daemon, asyncio.get_running_loop()))
            started.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="fake daemon")
    thread.start()
    try:
        assert started.wait(BOUND_SEC), "the fake daemon did not start"
        yield ready[0]
    finally:
        over.set()
        thread.join(BOUND_SEC)


class _BlockingInThreads:
    """Gives a blocking client the interface of the asynchronous one, so that a scene works with both."""

    def __init__(self, **options: Any) -> None:
        self._client = Mailroom(**options)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)

    def subscribe(self, *args: Any, **kwargs: Any) -> "_Subscription":
        return _Subscription(self._client.subscribe(*args, **kwargs))

    def iter_messages(self, *args: Any, **kwargs: Any) -> "_Subscription":
        return _Subscription(self._client.iter_messages(*args, **kwargs))

    def search(self, *args: Any, **kwargs: Any) -> "_Subscription":
        return _Subscription(self._client.search(*args, **kwargs))

    def send_many(self, *args: Any, **kwargs: Any) -> "_Subscription":
        return _Subscription(self._client.send_many(*args, **kwargs))

    async def __aenter__(self) -> "_BlockingInThreads":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.close()


class _Subscription:
    def __init__(self, subscription: Any) -> None:
        self._subscription = subscription

    def __aiter__(self) -> "_Subscription":
        return self

    async def __anext__(self) -> Any:
        event = await asyncio.to_thread(next, self._subscription, None)
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> "_Subscription":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self._subscription.close()


Scene = Callable[[FakeDaemon, AsyncMailroom], Awaitable[None]]


def play(kind: str, directory: Path, scene: Scene, **options: Any) -> None:
    """Runs a scene with a fake daemon and one client, "asyncio" or "blocking", within one time limit."""

    async def stage() -> None:
        async with running(directory) as daemon, asyncio.timeout(BOUND_SEC):
            settings: dict[str, Any] = {"address": daemon.address, "sender": "dashboard", **options}
            client = AsyncMailroom(**settings) if kind == "asyncio" else _BlockingInThreads(**settings)
            async with client:
                await scene(daemon, cast("AsyncMailroom", client))

    asyncio.run(stage())
