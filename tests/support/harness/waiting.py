"""Waiting — the one way in which tests wait: for a condition, under one bound; and the one source of chance."""

__all__ = ["BOUND_SEC", "chance", "chosen", "is_campaign", "pause", "rounds", "seed", "wait_until"]

import functools
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

BOUND_SEC = 25.0  # for anything that has to happen; on an idle machine most of it takes a tenth of a second

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found], what: str, bound_sec: float = BOUND_SEC, *, step_sec: float = 0.01
) -> Found:
    """Returns the condition's first true value, sought every `step_sec`; fails with `what` when the bound is over."""
    deadline = time.monotonic() + bound_sec
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {bound_sec:g} s in vain until {what}"
        pause(step_sec)
    return found


def pause(seconds: float) -> None:
    """Lets time pass: a random moment before a fault, or a period in which nothing may happen."""
    threading.Event().wait(seconds)


@functools.cache
def seed() -> int:
    """The seed of all chance in this run: MAILROOM_TEST_SEED, or a new one."""
    return int(os.environ.get("MAILROOM_TEST_SEED") or random.SystemRandom().randrange(1 << 32))


def chance(name: str) -> random.Random:
    """Returns a source of chance of its own for one test, so that its numbers do not depend on which tests run."""
    print(f"MAILROOM_TEST_SEED={seed()} ({name})")
    return random.Random(f"{seed()} {name}")


def rounds() -> int:
    """How often each fault is injected: MAILROOM_TEST_ROUNDS, 2 if not given."""
    return int(os.environ.get("MAILROOM_TEST_ROUNDS") or 2)


def is_campaign() -> bool:
    """Whether the long campaign is run: MAILROOM_TEST_CAMPAIGN is set, as `make faults` does."""
    return bool(os.environ.get("MAILROOM_TEST_CAMPAIGN"))


def chosen(everything: Sequence[Found], *few: Found) -> list[Found]:
    """Returns all cases of a test in the long campaign, else the few that are run each time."""
    assert all(one in everything for one in few)
    return list(everything if is_campaign() else few)
