"""The store on which most tests of the storage layer work, and the one thing that no test here judges: time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.harness.storing import StoreHarness

# The tests run side by side on a busy machine: figures of time are the benchmarks'.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[StoreHarness]:
    made = StoreHarness(tmp_path)
    yield made
    made.store.close()
