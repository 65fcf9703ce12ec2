"""Calls of one client that never wait by themselves still let other clients' calls run."""

import asyncio
import time

from mailroomd.gateway.cooperation import SLICE_SEC, WorkSlots


def work() -> None:
    """Occupies the loop for more than a slice."""
    ends = time.perf_counter() + 2 * SLICE_SEC
    while time.perf_counter() < ends:
        pass


def test_calls_in_excess_of_the_slots_let_another_run_in_between() -> None:
    order: list[str] = []

    async def busy(slots: WorkSlots, name: str) -> None:
        async with slots.slot():
            work()
            order.append(name)

    async def play() -> None:
        slots = WorkSlots(2)
        flood = [asyncio.create_task(busy(slots, "flood")) for _ in range(20)]
        await asyncio.sleep(0)
        order.append("other")
        await asyncio.gather(*flood)

    asyncio.run(play())
    assert order.index("other") <= 4
    assert order.count("flood") == 20


def test_long_work_lets_others_run_after_each_slice() -> None:
    async def play() -> int:
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count_turns())
        async with WorkSlots(1).slot() as share:
            for _ in range(10):
                work()
                await share.yield_if_due()
        counting.cancel()
        return turns

    assert asyncio.run(play()) >= 10


def test_a_call_of_many_turns_waits_for_few_slices_of_long_work() -> None:
    turns, slices = 20, 0

    async def work_long() -> None:
        nonlocal slices
        async with WorkSlots(1).slot() as share:
            while True:
                work()
                slices += 1
                await share.yield_if_due()

    async def play() -> None:
        nonlocal slices
        clients = [asyncio.create_task(work_long()) for _ in range(5)]
        await asyncio.sleep(0)
        slices = 0
        for _ in range(turns):
            await asyncio.sleep(0)
        for client in clients:
            client.cancel()

    asyncio.run(play())
    assert slices <= turns / 5, "and not a slice of each client in every turn"
