"""Each listener has its share of the file descriptors, and a warning says when one may have used it up."""

import os
import resource

import pytest
from mailroomd.gateway import descriptors
from mailroomd.gateway.descriptors import RESERVED, DescriptorWatch, connections_per_listener


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> int:
    def getrlimit(_: int) -> tuple[int, int]:
        return 1024, 1024

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    return 1024


def test_all_listeners_together_leave_the_reserve(limit: int) -> None:
    for listeners in (1, 2, 5):
        assert listeners * connections_per_listener(listeners) <= limit - RESERVED
    assert connections_per_listener(2) == 464


@pytest.mark.usefixtures("limit")
def test_a_full_listener_is_logged_once_in_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now_sec, used = 100.0, 463

    def list_used(_: str) -> list[str]:
        return ["fd"] * used

    monkeypatch.setattr(os, "listdir", list_used)
    watch = DescriptorWatch(2, lambda: now_sec)
    assert not watch.check()
    used = 464
    assert [watch.check(), watch.check()] == [True, False]
    now_sec += descriptors.LOG_INTERVAL_SEC
    assert watch.check()
