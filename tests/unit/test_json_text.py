"""JSON that is edited in place: everything that is not edited stays, byte for byte."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailroom_apps.setup.json_text import JsonError, JsonText

ENTRY: dict[str, Any] = {"hooks": [{"type": "command", "command": "x"}]}

ODD_DOCUMENTS = [
    "{}",
    "{}\n",
    '{"a": 1}',
    '{"a":1,"b":[1,2,{"c":null}]}',
    '\ufeff{\r\n\t"a": {\r\n\t\t"c": []\r\n\t}\r\n}\r\n',
    '// head\n{\n      "x": 1 // behind\n      // tail\n  }\n/* end */',
    '{\n  "a": [1,],\n  "b": {"c": "}, // no comment \\" /*"},\n}\n',
    '{\n\n\n "a"\n:\n1\n\n\n}',
    '{"a": {"b": [ ]}}',
    '{\n  "a": 1 /* one */\n, "b": 2}',
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("text", ODD_DOCUMENTS)
def test_an_entry_that_is_added_and_removed_leaves_no_trace(text: str) -> None:
    document = JsonText(text)
    added = document.added((), "new", ENTRY)
    assert added.value == {**document.value, "new": ENTRY}
    assert added.removed(("new",)).text == text


@pytest.mark.parametrize("text", ODD_DOCUMENTS)
def test_an_addition_changes_other_lines_only_by_a_comma(text: str) -> None:
    added = JsonText(text).added((), "new", ENTRY).text
    for line in text.splitlines():
        kept = line.strip().rstrip("}").rstrip()
        assert kept in added or kept.replace("1", "1,", 1) in added


def test_additions_follow_the_documents_indentation_and_line_ends() -> None:
    added = JsonText('{\r\n   "a": []\r\n}').added(("a",), None, ENTRY)
    assert added.text.startswith('{\r\n   "a": [\r\n      {\r\n         "hooks": [\r\n')
    assert "\n" not in added.text.replace("\r\n", "")
    assert JsonText('{"a": [1]}').added(("a",), None, {"b": 2}).text == '{"a": [1, {"b": 2}]}'


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ('{"hooks": {"Stop": []}}', '{"hooks": {"Stop": [{"a": 1}]}}'),
        ('{\n  "hooks": {"Stop": []}\n}\n', '{\n  "hooks": {"Stop": [{"a": 1}]}\n}\n'),
        (
            '{\n  "hooks": {\n    "Stop": []\n  }\n}\n',
            '{\n  "hooks": {\n    "Stop": [\n      {\n        "a": 1\n      }\n    ]\n  }\n}\n',
        ),
    ],
    ids=["one line", "one line in several", "several lines"],
)
def test_the_first_entry_is_written_as_what_is_around_it(text: str, added: str) -> None:
    assert JsonText(text).added(("hooks", "Stop"), None, {"a": 1}).text == added
    assert JsonText(added).removed(("hooks", "Stop", 0)).text == text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(
    st.dictionaries(st.text(max_size=6), values, max_size=4), st.sampled_from([None, 1, 4, "\t"]), st.text(max_size=6)
)
def test_any_document_keeps_its_values_and_its_text(value: dict[str, Any], indent: int | str | None, key: str) -> None:
    text = json.dumps(value, indent=indent)
    if key in value:
        return
    added = JsonText(text).added((), key, ENTRY)
    assert json.loads(added.text) == {**value, key: ENTRY}
    assert added.removed((key,)).text == text
    for name in value:
        assert json.loads(JsonText(text).removed((name,)).text) == {k: v for k, v in value.items() if k != name}


def test_comments_survive_the_removal_of_the_entry_between_them() -> None:
    text = "[\n  1, // first\n  2, // second\n  3 // third\n]\n"
    assert JsonText(text).removed((1,)).text == "[\n  1, // first\n  // second\n  3 // third\n]\n"
    left = JsonText(text).removed((2,))
    assert left.value == [1, 2]
    assert "// third" in left.text


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": }', "{'a': 1}", '{"a": 1} x', '{"a": 1 "b": 2}', "[1 2]", "{,}", '{"a": NaN}', '{"a": 01}',
     "[" * 9999, '{"a": "\n"}', "/* {}"],
)  # fmt: skip
def test_invalid_json_is_refused(text: str) -> None:
    with pytest.raises(JsonError):
        JsonText(text)
