"""Markdown of agents as a tree: whatever they write, it holds allowed elements and safe links only."""

import json
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailroom_apps.dashboard.markup import ELEMENTS, MAX_CHARS, parse_markdown

PARTS = (
    *("<script>", "</p>", "<img src=x onerror=a()>", "[a](javascript:b)", "[a](", "](http://c)", "![x](", "\x00", "`"),
    *("**", "# ", "> ", "- ", "1. ", "| a |\n|---|\n", "\n", "\n\n", "    ", "~~", "<!--", "&lt;", "<http://x>"),
    "\u202e",
)


def elements(nodes: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for node in nodes:
        if not isinstance(node, str):
            name, attributes, children = cast("tuple[str, dict[str, Any], list[Any]]", node)
            yield name, attributes
            yield from elements(children)


def check(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = list(elements(parse_markdown(text)))
    for name, attributes in found:
        assert name in ELEMENTS
        assert set(attributes) <= ({"href"} if name == "a" else {"start"} if name == "ol" else set())
        assert attributes.get("href", "http://").lower().startswith(("http://", "https://", "mailto:"))
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=20), max_size=40).map("".join))
def test_any_text_becomes_allowed_elements(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "&#106;avascript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:x",
        "//evil.example",
        "/relative",
        "#k=x",
    ],
)
def test_a_link_to_anything_but_the_web_and_mail_leads_nowhere(target: str) -> None:
    for text in (f"[x]({target})", f"[x](<{target}>)", f"![x]({target})", f"<{target}>", f"[x][1]\n\n[1]: {target}"):
        assert all(not attributes for _, attributes in check(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "> " * 3000 + "secret",
        "* " * 3000 + "secret",
        "[1]: http://a.example 'secret'",
        "[1]: secret",
        "| a |\n|---|\n| b | secret |",
        "[a](http://b.example 'secret')",
        "![a](http://b.example 'secret')",
        "```secret\ncode\n```",
        "<!-- secret -->",
        "[](http://secret.example)",
        "&secret; &#115;ecret",
    ],
)
def test_no_word_is_hidden_from_the_reader(text: str) -> None:
    assert "secret" in json.dumps(parse_markdown(text), ensure_ascii=False)


def test_html_is_text_and_an_image_is_a_link() -> None:
    tree = json.dumps(parse_markdown("<b onclick=x>hi</b> ![cat](https://a.example/cat.png)"))
    assert "<b onclick=x>hi</b>" in tree
    assert '["a", {"href": "https://a.example/cat.png"}, ["cat"]]' in tree


def test_ordinary_markdown_keeps_its_structure() -> None:
    names = [
        name
        for name, _ in check("# A\n\n1. b\n2. *c*\n\n> `d`\n\n| e | f |\n|---|---|\n| g | h |\n\n```\ni\n```\n---\n")
    ]
    for name in ("h1", "ol", "li", "em", "blockquote", "code", "table", "th", "td", "pre", "hr"):
        assert name in names


@pytest.mark.parametrize(
    "text",
    [
        ">" * 5000 + "x",
        "- " * 5000,
        "*" * 60_000,
        "[" * 60_000,
        "a" * 1_000_000,
        "[x](" * 20_000,
        "`" * 60_001,
        "| " * 30_000,
    ],
)
def test_hostile_markdown_is_parsed_in_bounded_time_and_depth(text: str) -> None:
    begin = time.process_time()
    tree = parse_markdown(text)
    assert time.process_time() - begin < 3.0
    json.dumps(tree)  # would raise RecursionError if it were deep


def test_what_exceeds_the_limit_is_kept_as_plain_text() -> None:
    tree = parse_markdown("*a* " * MAX_CHARS)
    assert tree[-1] == ["pre", {}, [("*a* " * MAX_CHARS)[MAX_CHARS:]]]
