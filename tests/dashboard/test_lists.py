"""Lists: several rows at once, mail that is sent again, the day that a row begins, what happened to the daemon."""

import itertools
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from mailroom.errors import MailroomError
from playwright.sync_api import Locator, Page, Route, expect
from support.harness.stage import Stage
from support.harness.waiting import pause, wait_until

CLIPBOARD = """() => {
  window.copied = [];
  Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => copied.push(text) } });
}"""
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def arguments() -> tuple[str, ...]:
    return ("--manage",)


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    return ("--loop-guard", "20")


def rows(page: Page) -> Locator:
    return page.locator(".side .item")


def is_stopped(stage: Stage, sender: str, to: str) -> bool:
    """Sends, and returns whether the loop guard refused it."""
    try:
        stage.room.send(to, "ping", sender=sender, timeout=0.5)
    except MailroomError as error:
        return error.reason == "LOOP_GUARD"
    return False


def unread(stage: Stage, agent: str) -> list[str]:
    return [message.id for message in stage.room.check_inbox(agent, observe=True)]


@pytest.mark.quick
def test_several_messages_are_selected_by_keys_and_acknowledged_together(stage: Stage) -> None:
    ids = [stage.send("ana", "dashboard", f"question {number}") for number in range(5)]
    page = stage.open("#/mine")
    page.evaluate(CLIPBOARD)
    expect(rows(page)).to_have_count(5)
    for key in ("j", "j", "x", "j", "j", "X"):  # the second row to the fourth
        page.keyboard.press(key)
    expect(page.get_by_role("group", name="Selected messages")).to_contain_text("3 selected")
    expect(page.locator(".side .item.picked")).to_have_count(3)
    page.keyboard.press("Shift+Y")
    assert page.evaluate("() => copied") == ["\n".join(ids[3:0:-1])]
    page.keyboard.press("e")
    expect(page.locator(".toast")).to_contain_text("3 acknowledged")
    expect(page.get_by_role("group", name="Selected messages")).to_be_hidden()
    assert unread(stage, "dashboard") == [ids[0], ids[4]]


def test_rows_are_selected_with_the_mouse_and_escape_lets_them_go(stage: Stage) -> None:
    for number in range(6):
        stage.send("ana", "dashboard", f"question {number}")
    page = stage.open("#/mine")
    expect(rows(page)).to_have_count(6)
    expect(page.locator(".box").first).to_be_hidden()
    page.get_by_role("button", name="Select", exact=True).click()
    page.locator(".box").nth(1).click()
    page.locator(".box").nth(4).click(modifiers=["Shift"])
    bar = page.get_by_role("group", name="Selected messages")
    expect(bar).to_contain_text("4 selected")
    page.locator(".box").nth(2).click()
    expect(bar).to_contain_text("3 selected")
    stage.send("ana", "dashboard", "meanwhile")  # waits, since the focus is in the list
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    expect(bar).to_contain_text("3 selected")
    page.locator(".brand").click()
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()
    expect(page.locator(".side .item.picked")).to_have_count(0)
    assert len(unread(stage, "dashboard")) == 7
    page.get_by_role("button", name="Select", exact=True).click()
    page.get_by_role("button", name="select all").click()
    page.get_by_role("button", name="Acknowledge", exact=False).first.click()
    wait_until(lambda: len(unread(stage, "dashboard")) == 1, "all that are shown are acknowledged")


def test_the_mail_of_others_is_selected_for_its_ids_and_needs_the_name_typed(stage: Stage) -> None:
    ids = [stage.send("ana", "bob", f"work {number}") for number in range(3)]
    page = stage.open("#/m/bob")
    page.evaluate(CLIPBOARD)
    expect(rows(page)).to_have_count(3)
    page.get_by_role("button", name="Select", exact=True).click()
    page.locator(".box").nth(0).click()
    page.locator(".box").nth(1).click()
    page.get_by_role("button", name="Copy ids").click()
    assert page.evaluate("() => copied") == [f"{ids[2]}\n{ids[1]}"]
    page.keyboard.press("e")
    pause(0.5)
    assert len(unread(stage, "bob")) == 3, "the key acknowledges own mail only"
    button = page.get_by_role("button", name="Acknowledge 2 for bob")
    page.once("dialog", lambda dialog: dialog.accept("bo"))
    button.click()
    expect(page.locator(".toast")).to_contain_text("type the agent's name")
    page.once("dialog", lambda dialog: dialog.accept("bob"))
    button.click()
    wait_until(lambda: unread(stage, "bob") == [ids[0]], "two are acknowledged")
    steps = [step.by for step in stage.room.get_message(ids[1]).history if step.state == "read"]
    assert steps == ["dashboard"]


@pytest.mark.quick
def test_send_again_opens_a_draft_with_a_key_of_its_own_and_sends_nothing(stage: Stage) -> None:
    options = {"thread_id": "build-41", "metadata": {"build": 41}, "priority": "high", "ttl": 3600}
    first = stage.send("dashboard", "bob", "please look\nagain", **options)
    page = stage.open("#/feed?from=dashboard")
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("s")
    text = page.get_by_role("textbox", name="Message", exact=True)
    expect(text).to_have_value("please look\nagain")
    expect(page.locator(".chip")).to_contain_text("bob")
    expect(page.get_by_label("Thread")).to_have_value("build-41")
    pause(1.0)
    assert len(list(stage.room.iter_messages("bob"))) == 1, "it is a draft"
    text.press("Control+Enter")
    expect(page.locator(".outbox .sent")).to_contain_text("please look")
    second, _ = list(stage.room.iter_messages("bob"))
    assert second.id != first
    assert (second.content, second.thread_id, second.metadata) == ("please look\nagain", "build-41", {"build": 41})
    assert second.priority == "high"
    assert second.timestamp is not None
    assert second.expires_at is not None
    assert second.expires_at - second.timestamp == timedelta(hours=1)


def test_a_returned_message_says_why_and_is_sent_again_to_its_host(stage: Stage) -> None:
    message_id = stage.send("dashboard", "bob", "for the other host")
    page = stage.open()

    def give_back(route: Route) -> None:
        """Answers as for a message that the host build7 has returned; two hosts are tested in tests/hosts."""
        origin = stage.dashboard.url.rstrip("/")
        answer = route.fetch(headers=route.request.headers | {"origin": origin})  # Playwright's own would be foreign
        message = answer.json()
        reason = "MAILBOX_FULL: bob has no room"
        step = {"state": "returned", "timestamp": message["at"], "recipient": "bob:build7", "by": None}
        message |= {"to": "bob:build7", "state": "returned", "history": [step | {"reason": reason}]}
        message["delivery"] |= {"state": "returned", "reason": reason, "recipient_known": False}
        route.fulfill(response=answer, json=message)

    page.route("**/api/message?*", give_back)
    stage.go(page, f"#/id/{message_id}")
    expect(page.locator(".facts")).to_contain_text("returned: the host that it was for did not take it")
    expect(page.locator(".delivery")).to_have_text("The other host did not take it: MAILBOX_FULL: bob has no room")
    page.get_by_text("History").click()
    expect(page.locator(".history ol")).to_contain_text("returned (MAILBOX_FULL: bob has no room)")
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value("for the other host")
    expect(page.locator(".chip")).to_contain_text("bob:build7")
    expect(page.locator(".chip.bad")).to_have_count(0)
    expect(page.locator("#compose-hint")).to_have_text("18 bytes")


def test_what_is_typed_before_the_panel_has_the_focus_is_no_command(stage: Stage) -> None:
    message_id = stage.send("ana", "dashboard", "answer me")
    page = stage.open(f"#/mine?id={message_id}")
    expect(page.locator(".message")).to_contain_text("answer me")
    page.evaluate(
        """() => {
          const request = navigator.locks.request.bind(navigator.locks);
          navigator.locks.request = async (...all) => {
            await new Promise((done) => setTimeout(done, 1500));
            return request(...all);
          };
        }"""
    )
    page.keyboard.press("r")
    page.keyboard.press("e")  # otherwise it acknowledges
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_focused()
    assert unread(stage, "dashboard") == [message_id]


def test_only_own_mail_is_sent_again(stage: Stage) -> None:
    message_id = stage.send("ana", "dashboard", "yours?")
    page = stage.open(f"#/id/{message_id}")
    expect(page.locator(".message")).to_contain_text("yours?")
    expect(page.get_by_role("button", name="Send again")).to_have_count(0)
    page.keyboard.press("s")
    expect(page.locator(".toast")).to_contain_text("only your own mail")
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_hidden()


def test_a_row_that_begins_another_day_names_it_and_is_as_high_as_the_others(stage: Stage) -> None:
    for number in range(6):
        stage.send("ana", "bob", f"message {number}")
    stage.deployment.kill()
    with closing(sqlite3.connect(stage.deployment.state_dir / "mailroom.db", isolation_level=None)) as database:
        database.execute(
            "UPDATE messages SET timestamp_ms = timestamp_ms - ? * (1 + (content <= 'message 1'))"
            " WHERE content <= 'message 3'",
            (DAY_MS,),
        )
    stage.deployment.start()
    page = stage.open("#/m/bob", timezone_id="UTC")
    expect(rows(page)).to_have_count(6)
    yesterday, before = (datetime.now(UTC) - timedelta(days=days) for days in (1, 2))
    names = [f"{day:%a} {day.day} {day:%b}" for day in (yesterday, before)]
    begun = page.locator(".side .item.new-day")
    expect(begun).to_have_count(2)
    for index, (name, content) in enumerate(zip(names, ("message 3", "message 1"), strict=True)):
        expect(begun.nth(index)).to_contain_text(content)
        assert begun.nth(index).locator(".day").inner_text().replace(",", "").replace("Sept", "Sep") == name
    heights = rows(page).evaluate_all("rows => rows.map(row => row.getBoundingClientRect().height)")
    assert set(heights) == {52}
    expect(begun.first.locator("time")).to_contain_text(str(yesterday.day))
    page.keyboard.press("z")
    page.keyboard.press("z")  # ages: the day stays
    expect(page.locator(".side .day")).to_have_count(2)


@pytest.mark.quick
def test_a_restart_is_a_line_in_the_feed_at_its_time_and_leads_to_health(stage: Stage) -> None:
    stage.send("ana", "bob", "before the restart")
    page = stage.open()
    expect(page.locator(".feed-card .item").first).to_contain_text("before the restart")
    stage.deployment.kill_worker("mailbox")
    expect(page.locator(".feed-card .item").first).to_contain_text("the worker mailbox was restarted (killed by SIG")
    stage.send("ana", "bob", "after the restart")
    expect(page.locator(".feed-card .item").first).to_contain_text("after the restart")
    stage.go(page, "#/feed")  # fetched anew, it is in the same place
    expect(rows(page).nth(0)).to_contain_text("after the restart")
    expect(rows(page).nth(1)).to_contain_text("the worker mailbox was restarted")
    expect(rows(page).nth(2)).to_contain_text("before the restart")
    expect(page.locator(".status").first).to_contain_text("2 messages")
    stage.go(page, "#/feed?to=bob")  # a filtered list has mail only
    expect(rows(page)).to_have_count(2)
    stage.go(page, "#/feed")
    expect(rows(page).nth(1)).to_contain_text("the worker mailbox was restarted")
    rows(page).nth(1).locator("a").click()
    expect(page.get_by_role("heading", name="Health")).to_be_visible()


def test_a_daemon_that_comes_back_is_a_line_in_the_feed(stage: Stage) -> None:
    page = stage.open("#/feed")
    stage.send("ana", "bob", "before")
    expect(rows(page).first).to_contain_text("before")
    stage.deployment.kill()
    stage.deployment.start()
    expect(rows(page).first).to_contain_text("the daemon was started again")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_role("group", name="Selected messages")).to_be_hidden()  # it is no message
    page.keyboard.press("r")
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_hidden()


def test_the_loop_guard_is_a_line_that_leads_to_who(stage: Stage) -> None:
    page = stage.open()
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    pause(2.5)  # the dashboard has a sample of the refusals before
    answers = (("ana", "bob") if number % 2 else ("bob", "ana") for number in range(60))
    stopped = (is_stopped(stage, *pair) for pair in answers)
    assert sum(itertools.islice(filter(None, stopped), 2)) == 2
    line = page.locator(".feed-card .item", has_text="the loop guard refused")
    expect(line).to_be_visible()
    line.locator("a").click()
    expect(page.get_by_role("heading", name="Who talks to whom")).to_be_visible()
    expect(page.get_by_role("link", name="from ana to bob")).to_be_visible()


def test_the_last_hour_of_an_agent_is_drawn(stage: Stage) -> None:
    stage.room.check_inbox("zoe")
    for number in range(3):
        stage.send("yan", "zoe", f"message {number}")
    page = stage.open("#/agents")
    row = page.locator("[data-agent='zoe']")
    expect(row.locator(".hour")).to_contain_text("3 in, 0 out")
    assert row.locator(".bars").inner_text().endswith("█")
    expect(page.locator("[data-agent='yan'] .hour")).to_contain_text("0 in, 3 out")
