"""Text of other agents is shown without characters that act on a terminal or hide from the reader."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailroom_apps.printable import json_escaped, printable, printable_line

# Visible although of category Cf (Prepended_Concatenation_Mark in PropList.txt).
VISIBLE = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
IGNORABLE = "\xad\u034f\u061c\u115f\u17b4\u180b\u200b\u200c\u200d\u202e\u2060\u206f\u3164\ufe00\ufe0f\ufeff\uffa0"
ASTRAL = "\U0001bca0\U0001d173\U000e0001\U000e0041\U000e0101\U000e0fff"


@given(st.text())
def test_printable_text_contains_no_control_characters(text: str) -> None:
    shown = printable(text)
    assert all(char.isprintable() or char in "\n\t" or char.isspace() or ord(char) > 0x9F for char in shown)
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_every_control_format_and_separator_character_of_unicode_is_escaped() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        is_hidden = unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or (
            unicodedata.category(char) == "Cf" and code not in VISIBLE
        )
        if is_hidden:
            assert printable_line(f"a{char}b") == f"a{char.encode('unicode_escape').decode()}b", hex(code)


@pytest.mark.parametrize("char", [*IGNORABLE, *ASTRAL])
def test_default_ignorable_characters_are_escaped(char: str) -> None:
    assert printable(f"a{char}b") == printable_line(f"a{char}b") == f"a{char.encode('unicode_escape').decode()}b"


@pytest.mark.parametrize(
    "text",
    ["naïve 🧑‍🚀", "❤️", "👩🏽‍💻", "🏳️‍🌈", "1️⃣ #️⃣", "☎︎", "日本語 العربية עברית हिन्दी", "a\xa0b", "\u0601\u0661"],
)
def test_visible_text_and_emoji_stay_as_they_are(text: str) -> None:
    assert printable(text) == printable_line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200db", "a\\u200db"),
        ("❤\u200dx", "❤\\u200dx"),
        ("❤️\ufe0f", "❤️\\ufe0f"),
        ("1\ufe0f", "1\\ufe0f"),
        ("\ufe0f", "\\ufe0f"),
        ("\u200d🚀", "\\u200d🚀"),
        ("🏴\U000e0067\U000e007f", "🏴\\U000e0067\\U000e007f"),
    ],
)
def test_invisible_characters_outside_a_valid_emoji_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_line_stays_one_line() -> None:
    assert printable_line("a\nb\tc\u2028d\x9b") == "a\\nb\\tc\\u2028d\\x9b"
    assert printable("a\n\tb") == "a\n\tb"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_escaped_json_means_the_same_and_contains_nothing_dangerous(text: str) -> None:
    escaped = json_escaped(json.dumps({"content": text}, ensure_ascii=False))
    assert json.loads(escaped) == {"content": text}
    assert json_escaped(escaped) == escaped
