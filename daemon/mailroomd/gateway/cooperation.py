"""cooperation — keeps long work from occupying the loop: other calls get many turns every few milliseconds.

Work that can pause does so by its `LoopShare`. Other work is done in one thread, from which the loop gets the
interpreter back within 5 ms (`sys.getswitchinterval`); with more threads the loop would wait for each of them.
Invariant: between two slices of long work, of any client, the loop has a pause for everything else. One turn would not
do: gRPC accepts one call after the other, and each takes five turns. A call would wait for five slices for each of the
calls that arrived before it.
"""

__all__ = ["LoopShare", "WorkSlots", "work_in_thread"]

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar
from weakref import WeakKeyDictionary

SLICE_SEC = 0.005  # of uninterrupted work
PAUSE_SEC = 0.001  # after it: gRPC accepts a few calls in this time, and an accepted one can be answered

Argument = TypeVar("Argument")
Result = TypeVar("Result")
_thread = ThreadPoolExecutor(1, thread_name_prefix="long-work")
_pausing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()  # held by work that pauses


async def work_in_thread(work: Callable[[Argument], Result], argument: Argument) -> Result:
    """Returns the result of long work of the processor, which is done beside the loop, one after the other."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work, argument)


class LoopShare:
    """Measures uninterrupted work. Create it when the work begins; all tasks of one call may use it."""

    def __init__(self) -> None:
        self._slice_ends = time.monotonic() + SLICE_SEC
        self._own_turn = asyncio.Lock()  # only one of the call's tasks waits for the loop's pause: calls take turns

    async def yield_if_due(self) -> None:
        """Lets other calls run if this one has used up its slice; long work of several calls goes on in turn."""
        if time.monotonic() < self._slice_ends:
            return
        async with self._own_turn:
            if time.monotonic() < self._slice_ends:
                return
            async with _pausing.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                await asyncio.sleep(PAUSE_SEC)
            self._slice_ends = time.monotonic() + SLICE_SEC


class WorkSlots:
    """Bounds how many calls of one client work at the same time; the others wait in order.

    A call whose work took long keeps its slot until other clients' calls have had a turn, so that calls that never
    suspend are bounded too. Not for waiting: a call that waits for mail or for a slow reader must not hold a slot.

    Args:
        slots: how many calls may work at the same time.
        searches: how many of them may search.

    Attributes:
        searching: what a call holds while it searches; take it before the slot, so that calls that wait for their
            turn to search leave the slots to others.
    """

    def __init__(self, slots: int, searches: int = 1) -> None:
        self._semaphore = asyncio.Semaphore(slots)
        self.searching = asyncio.Semaphore(searches)

    def slot(self) -> "_Slot":
        """Returns an asynchronous context that holds a slot."""
        return _Slot(self._semaphore)


class _Slot:
    __slots__ = ("_semaphore", "_share")

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore = semaphore

    async def __aenter__(self) -> LoopShare:
        await self._semaphore.acquire()
        self._share = LoopShare()
        return self._share

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._share.yield_if_due()
        finally:
            self._semaphore.release()
