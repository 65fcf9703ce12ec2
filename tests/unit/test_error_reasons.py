"""The contract and docs/errors.md publish every reason that the daemon gives, with its code."""

import re
from pathlib import Path

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.gateway.status import code_of
from mailroomd.model.errors import Reason

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
ROW = re.compile(r"\| `([A-Z_]+)` \| `([A-Z_]+)` \| (.+) \|")


def test_the_contract_publishes_exactly_the_reasons_of_the_daemon() -> None:
    published = {name.removeprefix("ERROR_REASON_") for name in pb.ErrorReason.DESCRIPTOR.values_by_name}
    assert published == {"UNSPECIFIED", *Reason}


@pytest.mark.parametrize("reason", Reason)
def test_the_page_of_errors_gives_the_code_of_each_reason(reason: Reason) -> None:
    rows = {name: (code, meaning) for name, code, meaning in ROW.findall(PAGE.read_text())}
    code, meaning = rows[reason]
    assert code == code_of(reason).name
    assert ("Retry" in meaning) == (code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
