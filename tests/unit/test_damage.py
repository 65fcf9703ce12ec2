"""An error of a corrupted database ends the daemon with a sentence, wherever in a worker's start it is met."""

import os
import sqlite3
from pathlib import Path

import pytest
from mailroomd.model.settings import Settings
from mailroomd.storage.database.transactions import StoreFailed
from mailroomd.worker.context import CannotStart
from mailroomd.worker.damage import refuse_damaged_database


def database_error(code: int) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = code
    return error


SETTINGS = Settings(root=Path("/r"), state_dir=Path("/s"))
CORRUPT = database_error(sqlite3.SQLITE_CORRUPT)
BUSY = database_error(sqlite3.SQLITE_BUSY)


@pytest.mark.parametrize("error", [CORRUPT, StoreFailed(CORRUPT)], ids=["read", "write"])
def test_corruption_is_refused_with_a_sentence_and_no_restart(error: Exception) -> None:
    with (
        pytest.raises(CannotStart, match="is corrupted") as caught,
        refuse_damaged_database(SETTINGS),
    ):
        raise error
    assert caught.value.exit_code == os.EX_CONFIG


@pytest.mark.parametrize("error", [BUSY, StoreFailed(BUSY)], ids=["read", "write"])
def test_any_other_failure_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, refuse_damaged_database(SETTINGS):
        raise error
    assert caught.value is error
