"""What outlives a process, or is read by others, is as the golden files pin it: a change there is never an accident.

`golden/` has the digest of a request under an idempotency key, the row of a message, the packed draft, the inbox file
and the schema. A field that is added changes row, packed draft and schema; digest and inbox file of a message that does
not use it stay as they are, because databases and files of earlier versions have them.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mailroom.inbox_file_encoder import encode_inbox_file
from mailroomd.model.message import Draft, Priority, pack_draft
from support.harness.storing import StoreHarness

GOLDEN = Path(__file__).parent / "golden"
MESSAGE_ID = 0x0198_C0FF_EE00_0001
ACCEPTED_MS = 1_764_000_000_123
DRAFTS = {
    "smallest": Draft("bob", "amy", "go"),
    "largest": Draft(
        recipient="bob@team",
        sender="amy",
        content='line one\n"quoted" ü 😀',
        type="note",
        metadata=b'{"a":[1,2.5,null],"n":12345678901234567890}',
        thread_id="pr-7",
        in_reply_to=MESSAGE_ID - 1,
        priority=Priority.URGENT,
        ttl_ms=60_000,
        verified=True,
        reply_by_ms=1_764_003_600_000,
    ),
}


def golden(name: str) -> dict[str, object]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def row(harness: StoreHarness, draft: Draft) -> dict[str, list[object]]:
    """Returns each column of a new message: its type in the database, and its value."""
    harness.send(draft)
    columns = [name for _, name, *_ in harness.rows("PRAGMA table_info(messages)")]
    selected = ", ".join(f"typeof({name}), {name}" for name in columns)
    (values,) = harness.rows(f"SELECT {selected} FROM messages")
    return {name: list(values[2 * at : 2 * at + 2]) for at, name in sorted(enumerate(columns), key=lambda one: one[1])}


def digest(harness: StoreHarness, draft: Draft) -> str:
    harness.commit(harness.message(draft, "key", client_key=True))
    return harness.rows("SELECT lower(hex(digest)) FROM idempotency_keys")[0][0]


def packed(_: StoreHarness, draft: Draft) -> str:
    return pack_draft(draft).hex()


def inbox_file(_: StoreHarness, draft: Draft) -> str:
    return encode_inbox_file(MESSAGE_ID, ACCEPTED_MS, draft).decode()


@pytest.mark.parametrize("size", DRAFTS)
@pytest.mark.parametrize("form", [row, digest, packed, inbox_file], ids=lambda form: form.__name__)
def test_each_form_of_a_message_is_the_golden_one(
    harness: StoreHarness, form: Callable[[StoreHarness, Draft], object], size: str
) -> None:
    assert form(harness, DRAFTS[size]) == golden(form.__name__)[size]


def test_the_schema_of_a_new_database_is_the_golden_one(harness: StoreHarness) -> None:
    found: dict[str, object] = {"user_version": harness.rows("PRAGMA user_version")[0][0]}
    for name, kind, sql in harness.rows("SELECT name, type, sql FROM sqlite_schema ORDER BY name"):
        columns = sorted(" ".join(map(str, column[1:])) for column in harness.rows(f"PRAGMA table_info('{name}')"))
        found[name] = columns if kind == "table" else re.sub(r"\s+", " ", str(sql))
    assert found == golden("schema")
