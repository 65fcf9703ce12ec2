"""Using the page: by keyboard alone, by links, with filters, in several sizes and schemes, for screen readers."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mailroom_apps.dashboard.sessions import Role
from playwright.sync_api import Page, expect
from support.harness.stage import PHONE, WIDE, ZOOMED, Stage

VIEWS = ["now", "mine", "agents", "m/reviewer", "feed", "search?q=build", "who?h=24", "health", "audit", "t/build-42"]
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def arguments() -> tuple[str, ...]:
    return ("--manage",)


def fill(stage: Stage) -> None:
    """A morning of five agents."""
    for agent in ("builder", "reviewer", "tester", "planner"):
        stage.room.check_inbox(agent)
    for number in range(24):
        pair = [("builder", "reviewer"), ("reviewer", "builder"), ("tester", "planner"), ("planner", "deploy")][
            number % 4
        ]
        stage.send(*pair, f"build {number}: {number % 5} failures, see the log")
    stage.send("planner", "dashboard", "which port should the preview use? 8080 is **taken**.", thread_id="ports")
    stage.send("reviewer", "dashboard", "may I drop the table `sessions_old`?", priority="urgent", reply_by=3600)
    stage.send("tester", "reviewr", "did you see the failure in build 41?", priority="high")
    first = stage.send(
        "builder",
        "reviewer",
        "## Build 42\n\nIt **works**:\n\n| step | time |\n|---|---|\n| compile | 41 s |\n| test | 95 s |\n\n"
        "```\nmake: all checks passed\n```\nSee [the log](https://ci.example/42).",
        thread_id="build-42",
        metadata={"build": 42, "branch": "main"},
    )
    stage.send("reviewer", "builder", "Thanks, merged.", thread_id="build-42", in_reply_to=first)
    inbox = stage.room.check_inbox("reviewer")
    stage.room.acknowledge("reviewer", [message.id for message in inbox][:5])


def visit(stage: Stage, page: Page, view: str) -> None:
    stage.go(page, "#/" if view == "now" else f"#/{view}")
    expect(page.locator("main > *")).to_be_visible()
    expect(page.locator(".status, .hint", has_text="loading")).to_have_count(0)
    expect(page.locator(".hint", has_text="counting")).to_have_count(0)
    if view in ("mine", "m/reviewer", "feed"):
        expect(page.locator(".side .item, .side .note:not(:empty), .status:not(:empty)").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("content", [pytest.param("empty", marks=pytest.mark.quick), "full", "down"])
def test_every_view_is_accessible_and_fits_its_width(
    stage: Stage, axe: Callable[[Page], list[str]], content: str, scheme: str
) -> None:
    """Also takes the pictures of docs/dashboard/, if MAILROOM_PICTURES names a directory.

    axe looks at the wide page in light, at the narrow one in dark: what it finds depends on either, rarely on both.
    """
    pictures = os.environ.get("MAILROOM_PICTURES")
    if content != "empty":
        fill(stage)
    page = stage.open(color_scheme=scheme, reduced_motion="reduce")
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    if content == "full":
        expect(page.locator(".cards [data-own]")).to_have_count(2)
    found: list[str] = []
    if content == "down":
        for view in VIEWS:
            visit(stage, page, view)
        stage.deployment.kill()
        expect(page.get_by_title("daemon: not connected", exact=True)).to_be_visible()
    for view in VIEWS:
        for size in (WIDE, ZOOMED, PHONE):
            page.set_viewport_size(size)
            visit(stage, page, view)
            if size is (WIDE if scheme == "light" else PHONE):
                found += [f"{view} at {size['width']}: {one}" for one in axe(page)]
            if (overflow := page.evaluate(OVERFLOW)) > 0:
                found.append(f"{view} at {size['width']}: {overflow} pixels too wide")
            if pictures and size is not ZOOMED:
                name = f"{view.split('?')[0].replace('/', '-')}-{content}-{scheme}-{size['width']}.png"
                page.screenshot(path=Path(pictures) / name)
    assert not found, "\n".join(found)


@pytest.mark.quick
def test_a_day_is_spent_without_a_mouse(stage: Stage) -> None:
    fill(stage)
    page = stage.open()
    keys = page.keyboard
    expect(page.locator(".cards [data-own]")).to_have_count(2)
    keys.press("g")
    keys.press("m")
    expect(page.locator(".side .item")).to_have_count(2)
    keys.press("j")
    keys.press("Enter")
    expect(page.locator(".message.chosen")).to_contain_text("may I drop the table")
    keys.press("r")
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_focused()
    keys.type("no, jk: rename it")  # no key of the page works in a field
    keys.press("Control+Enter")
    expect(page.locator(".outbox .sent")).to_contain_text("rename it")
    keys.press("Escape")
    keys.press("e")
    expect(page.locator(".message.chosen .facts")).to_contain_text("read: acknowledged")
    keys.press("Escape")
    expect(page.locator(".message")).to_have_count(0)
    keys.press("Control+k")
    keys.type("tester")
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Mailbox tester")).to_be_visible()
    keys.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("acknowledge (own mail)")
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    keys.press("Control+k")
    keys.type("failures in the log")
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Search")).to_be_visible()


def test_single_keys_can_be_turned_off_and_stay_off(stage: Stage) -> None:
    page = stage.open()
    page.keyboard.press("?")
    page.get_by_label("single keys work outside of fields").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    page.keyboard.press("c")
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Palette")).to_be_visible()


@pytest.mark.quick
def test_filters_are_in_the_address_and_back_leads_to_the_row(stage: Stage) -> None:
    fill(stage)
    page = stage.open("#/feed?from=tester&to=planner", viewport=PHONE)
    expect(page.locator(".side .item").first).to_contain_text("tester → planner")
    assert all("tester → planner" in text for text in page.locator(".side .item").all_inner_texts())
    row = page.locator(".side .item").nth(2)
    text = row.inner_text()
    row.locator("a").click()
    expect(page.locator(".side")).to_be_hidden()
    expect(page.locator(".message")).to_be_visible()
    page.get_by_role("button", name="← Back").click()
    expect(page.locator(".side .item a:focus")).to_be_visible()
    assert page.locator(".side .item:has(a:focus)").inner_text() == text
    page.reload()
    expect(page.locator(".side .item").first).to_contain_text("tester → planner")
    stage.go(page, "#/feed?from=nobody")
    expect(page.locator(".side .note")).to_contain_text("No message matches nobody")


def test_a_list_is_exported_as_it_is_filtered(stage: Stage) -> None:
    fill(stage)
    page = stage.open("#/feed?from=tester")
    expect(page.locator(".side .item")).to_have_count(7)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == "feed.jsonl"
    messages = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert len(messages) == 7
    assert {message["sender"] for message in messages} == {"tester"}
    assert any("did you see the failure" in message["content"] for message in messages)


def test_a_name_in_the_reading_pane_is_a_filter(stage: Stage) -> None:
    message_id = stage.send("ana", "bob", "filter me")
    stage.send("bob", "ana", "not me")
    page = stage.open(f"#/id/{message_id}")
    page.locator(".message header").get_by_role("link", name="ana").click()
    expect(page.get_by_role("heading", name="Feed")).to_be_visible()
    expect(page.locator(".side .item")).to_have_count(1)
    expect(page.locator(".side .item")).to_contain_text("filter me")


def test_the_traffic_matrix_leads_to_the_feed_of_a_pair(stage: Stage) -> None:
    fill(stage)
    page = stage.open("#/who?h=1")
    page.get_by_role("link", name="6 from tester to planner").click()
    expect(page.locator(".side .item")).to_have_count(6)


def test_an_agent_is_acknowledged_for_only_with_its_name_typed(stage: Stage) -> None:
    message_id = stage.send("ana", "bob", "not yours")
    page = stage.open(f"#/id/{message_id}")
    button = page.get_by_role("button", name="Acknowledge for bob")
    page.once("dialog", lambda dialog: dialog.accept("bo"))
    button.click()
    expect(page.locator(".toast")).to_contain_text("type the agent's name")
    assert not stage.room.get_message(message_id).message.read
    page.once("dialog", lambda dialog: dialog.accept("bob"))
    button.click()
    expect(page.locator(".facts")).to_contain_text("read: acknowledged")
    stage.go(page, "#/audit")
    expect(page.get_by_role("region", name="Actions")).to_contain_text("acknowledge for another")


def test_the_palette_and_the_audit_are_not_for_observers(stage: Stage) -> None:
    page = stage.open(role=Role.OBSERVER)
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Audit")).to_be_hidden()
    stage.go(page, "#/audit")
    expect(page.get_by_role("main")).to_contain_text("this session may only watch")


def test_times_theme_and_zone_are_the_readers_choice(stage: Stage) -> None:
    stage.send("ana", "bob", "at this time")
    page = stage.open(timezone_id="Asia/Kathmandu")
    time = page.locator(".feed-card time").first
    local = time.inner_text()
    page.keyboard.press("z")
    expect(page.locator(".toast")).to_contain_text("UTC")
    assert time.inner_text() != local
    page.keyboard.press("z")
    page.keyboard.press("t")
    page.keyboard.press("t")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    page.reload()
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
