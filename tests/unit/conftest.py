"""The desk at which most tests of the storage layer stand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.storing import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()
