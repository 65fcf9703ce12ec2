"""Tests of several hosts: each starts daemons and a nats-server of its own on loopback."""

import pytest

BOUND_SEC = 240  # of one test; a longer campaign names its own


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.hosts)
        if not config.getoption("timeout"):
            item.add_marker(pytest.mark.timeout(BOUND_SEC))
