"""Mail that attacks its reader: scripts in every field that a sender writes, huge and deep content."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.harness.stage import Stage

SCRIPT = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"
LINKS = "[a](javascript:document.title='hacked') <javascript:alert(1)> ![b](http://tracker.example/pixel.png)"
BIDI = "\u202eevil\u202c \u200b\u2066x\u2069 \x1b[31mred\x07 \x00"
DANGERS = """() => document.querySelectorAll(
  'script:not([src]), iframe, object, embed, img, style, base, form, [onerror], [onclick], [style*=url]').length"""
VIEWS = ["#/", "#/mine", "#/agents", "#/m/bob", "#/feed", "#/search?q=evil", "#/who?h=24", "#/health", "#/audit"]


def hostile(field: str) -> dict[str, Any]:
    """Returns the options of a message whose field is hostile."""
    text = SCRIPT + LINKS + BIDI
    return {
        "content": {},
        "type": {"type": "<img src=x onerror=alert(1)>"},
        "thread": {"thread_id": '"><script>alert(1)</script>#/../?id=x&y'},
        "metadata": {"metadata": {text: [text, {"__proto__": text, "constructor": text}]}},
    }[field]


def assert_unharmed(page: Page) -> None:
    assert page.evaluate(DANGERS) == 0
    assert "hacked" not in page.title()


@pytest.mark.parametrize("field", [pytest.param("content", marks=pytest.mark.quick), "type", "thread", "metadata"])
def test_nothing_that_a_sender_writes_becomes_more_than_text(stage: Stage, field: str) -> None:
    content = f"# {SCRIPT}\n\n{LINKS}\n\n{BIDI}\n\n| {SCRIPT} |\n|---|\n| {LINKS} |\n\n```html\n{SCRIPT}\n```"
    options = hostile(field)
    for to in ("dashboard", "bob"):
        message_id = stage.send("eve", to, content, priority="urgent", **options)
    page = stage.open()
    page.on("dialog", lambda dialog: stage.watched[-1].problems.append(f"dialog {dialog.message}"))
    for view in VIEWS:
        stage.go(page, view)
        expect(page.locator("main > *")).to_be_visible()
        assert_unharmed(page)
    stage.go(page, f"#/id/{message_id}")
    expect(page.locator(".message.chosen")).to_be_visible()
    for summary in page.locator("summary").all():
        if summary.is_visible():
            summary.click()
    assert_unharmed(page)
    links = page.locator(".chosen .content a").evaluate_all("all => all.map(link => link.getAttribute('href'))")
    assert set(links) == {"http://tracker.example/pixel.png"}  # an image became a link; nobody fetched it
    shown = page.locator(".chosen .content").inner_text()
    assert "<script>" in shown
    assert "\\u202e" in shown
    assert "\\x1b" in shown
    assert not set("\u202e\u2066\u200b\x1b\x00") & set(page.locator("main").inner_text())
    page.locator(".chosen").get_by_role("button", name="Raw").click()
    assert_unharmed(page)
    if field == "thread":
        page.locator(".pane-head a").click()
        expect(page.locator(".message").first).to_be_visible()
        assert_unharmed(page)


@pytest.mark.quick
def test_names_of_agents_and_files_are_text_too(stage: Stage) -> None:
    """The contract allows few characters in names; a response's file name and a session are the agents' own."""
    outbox = stage.deployment.root / "outbox" / "eve"
    outbox.mkdir(parents=True)
    page = stage.open("#/feed")
    (outbox / "<img src=x onerror=alert(1)>.json").write_text('{"a": "<script>alert(1)</script>"}')
    stage.send("eve", "bob", "after the file")
    expect(page.locator(".side")).to_contain_text("after the file")
    assert_unharmed(page)


@pytest.mark.parametrize(
    "content",
    ["x" * 1_000_000, "> " * 3000 + "deep", "* " * 3000 + "deep", "[" * 60_000, "line\n" * 100_000, "| a " * 20_000],
    ids=["long line", "quotes", "lists", "brackets", "lines", "cells"],
)
def test_a_huge_or_deep_message_is_shown_in_bounded_time(stage: Stage, content: str) -> None:
    message_id = stage.send("eve", "bob", content)
    page = stage.open("#/feed")
    expect(page.locator(".side .item")).to_have_count(1)
    stage.go(page, f"#/id/{message_id}")
    expect(page.locator(".message .content")).to_be_visible()
    stage.go(page, "#/")
    expect(page.locator(".feed-card .item")).to_have_count(1)
