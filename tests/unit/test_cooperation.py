"""Calls of one client that never wait by themselves, or that have many tasks, still let other clients' calls run."""

import asyncio
import time

import pytest
from mailroomd.gateway import cooperation
from mailroomd.gateway.cooperation import SLICE_SEC, LoopShare, WorkSlots

TASKS = 100


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


def test_a_call_with_many_tasks_takes_turns_as_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooperation, "SLICE_SEC", 0.0)  # every share is due at once

    async def turns_before_another_call() -> int:
        crowded, other = LoopShare(), LoopShare()
        finished = 0

        async def work() -> None:
            nonlocal finished
            await crowded.yield_if_due()
            finished += 1

        tasks = [asyncio.create_task(work()) for _ in range(TASKS)]
        await asyncio.sleep(0)
        await other.yield_if_due()
        before = finished
        await asyncio.gather(*tasks)
        return before

    assert asyncio.run(turns_before_another_call()) <= 2


def test_one_pause_of_a_call_counts_for_all_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = 0

    async def pause() -> None:
        monkeypatch.setattr(cooperation, "SLICE_SEC", 0.0)
        share = LoopShare()
        monkeypatch.setattr(cooperation, "SLICE_SEC", 60.0)
        await asyncio.gather(*(share.yield_if_due() for _ in range(TASKS)))

    slept = asyncio.sleep

    async def counted_sleep(delay_sec: float) -> None:
        nonlocal pauses
        pauses += 1
        await slept(delay_sec)

    monkeypatch.setattr(asyncio, "sleep", counted_sleep)
    asyncio.run(pause())
    assert pauses == 1
