"""Tests of several hosts: each starts daemons and a nats-server of its own on loopback."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.hosts)
        item.add_marker(pytest.mark.timeout(240))
