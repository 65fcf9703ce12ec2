"""A database of any older version is brought up to date with all that is in it; a newer one is left alone."""

import sqlite3
from pathlib import Path

import pytest
from mailroomd.storage.database import DatabaseTooNew
from mailroomd.storage.schema import SCHEMA_VERSION
from support.storing import Desk


def test_a_database_of_a_newer_daemon_is_left_alone_with_a_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    newer = sqlite3.connect(tmp_path / "mailroom.db")
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    before = (tmp_path / "mailroom.db").read_bytes()
    with pytest.raises(DatabaseTooNew, match="install the newer mailroomd again"):
        Desk(tmp_path)
    assert (tmp_path / "mailroom.db").read_bytes() == before
