"""Composing: no keystroke is lost, and no message is sent twice, whatever happens to tab, dashboard and daemon."""

import signal

import pytest
from playwright.sync_api import APIResponse, Locator, Page, Route, expect
from support.harness.stage import Stage
from support.harness.waiting import pause, wait_until

OUTBOX = "() => Object.keys(localStorage).filter(key => key.includes(':outbox:')).length"
DRAFTS = "() => Object.keys(localStorage).filter(key => key.includes(':draft:')).length"


def text_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message", exact=True)


def write(page: Page, to: str, content: str) -> None:
    page.get_by_role("button", name="Write a message").click()
    page.get_by_label("To", exact=True).fill(to)
    page.get_by_label("To", exact=True).press("Enter")
    text_of(page).press_sequentially(content)


def contents(stage: Stage, agent: str) -> list[str]:
    return [message.content for message in stage.room.iter_messages(agent)]


@pytest.mark.quick
def test_a_message_is_sent_and_shows_how_far_it_has_come(stage: Stage) -> None:
    stage.room.check_inbox("bob")
    page = stage.open()
    write(page, "bob", "hello bob")
    text_of(page).press("Control+Enter")
    entry = page.locator(".outbox .entry.sent")
    expect(entry).to_contain_text("hello bob")
    expect(text_of(page)).to_have_value("")
    (message,) = stage.room.check_inbox("bob")
    assert (message.sender, message.content) == ("dashboard", "hello bob")
    stage.room.acknowledge("bob", message.id)
    expect(entry.locator(".ticks")).to_have_class("ticks read")
    assert page.evaluate(DRAFTS) == 0


@pytest.mark.quick
def test_typed_text_survives_a_reload_and_a_crash_of_the_tab(stage: Stage) -> None:
    page = stage.open()
    write(page, "bob", "half a sent")
    page.reload()
    expect(text_of(page)).to_have_value("half a sent")
    expect(page.locator(".chip")).to_contain_text("bob")
    text_of(page).press_sequentially("ence")
    context = page.context
    page.close(run_before_unload=False)
    again = stage.watch(context.new_page())
    again.goto(stage.dashboard.url)
    expect(text_of(again)).to_have_value("half a sentence")


def test_two_tabs_have_drafts_of_their_own(stage: Stage) -> None:
    one = stage.open()
    write(one, "bob", "from one")
    other = stage.watch(one.context.new_page())
    other.goto(stage.dashboard.url)
    write(other, "ana", "from the other")
    expect(text_of(one)).to_have_value("from one")
    assert one.evaluate(DRAFTS) == 2
    one.reload()
    expect(text_of(one)).to_have_value("from one")


def test_what_is_written_while_the_daemon_is_down_goes_out_once_when_it_is_back(stage: Stage) -> None:
    page = stage.open()
    expect(page.get_by_title("daemon: connected", exact=True)).to_be_visible()
    stage.deployment.kill()
    expect(page.get_by_title("daemon: not connected", exact=True)).to_be_visible()
    write(page, "bob", "patience")
    text_of(page).press("Control+Enter")
    expect(page.locator(".outbox .entry")).to_contain_text("patience")
    page.reload()
    expect(page.locator(".outbox .entry")).to_contain_text("patience")
    stage.deployment.start()
    expect(page.locator(".outbox .entry.sent")).to_contain_text("patience")
    assert contents(stage, "bob") == ["patience"]


@pytest.mark.quick
def test_an_answer_that_is_lost_leads_to_a_repeat_and_to_one_message(stage: Stage) -> None:
    page = stage.open()
    lost: list[APIResponse] = []

    def lose_the_first_answer(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch())
        route.abort()

    page.route("**/api/send", lose_the_first_answer)
    write(page, "bob", "exactly once")
    text_of(page).press("Control+Enter")
    expect(page.locator(".outbox .entry.sent")).to_contain_text("exactly once")
    assert lost[0].status == 200
    assert contents(stage, "bob") == ["exactly once"]


def test_impatient_clicks_and_two_tabs_send_one_message(stage: Stage) -> None:
    page = stage.open()
    other = stage.watch(page.context.new_page())
    other.goto(stage.dashboard.url)
    expect(other.get_by_title("daemon: connected", exact=True)).to_be_visible()
    write(page, "bob", "impatient")
    page.get_by_role("button", name="Send", exact=True).dblclick()
    expect(page.locator(".outbox .entry.sent")).to_contain_text("impatient")
    expect(other.locator(".outbox .entry.sent")).to_contain_text("impatient")
    pause(1.0)
    assert contents(stage, "bob") == ["impatient"]


def test_the_dashboard_killed_in_the_middle_loses_and_doubles_nothing(stage: Stage) -> None:
    page = stage.open()
    write(page, "bob", "through the kill")
    stage.dashboard.stop(signal.SIGKILL)
    text_of(page).press("Control+Enter")
    expect(page.locator(".outbox .entry.unknown")).to_contain_text("through the kill")
    stage.dashboard.start()
    expect(page.locator(".outbox .entry.sent")).to_contain_text("through the kill")
    assert contents(stage, "bob") == ["through the kill"]


def test_a_refused_message_keeps_its_text_and_says_why(stage: Stage) -> None:
    page = stage.open()
    write(page, "bob", "for one of two")
    page.get_by_label("To", exact=True).fill("bad..@")
    page.get_by_label("To", exact=True).press("Enter")
    expect(page.locator("#compose-hint")).to_contain_text("bad..@ is not a valid name")
    text_of(page).press("Control+Enter")
    expect(text_of(page)).to_have_value("for one of two")  # not even tried
    assert contents(stage, "bob") == []
    page.get_by_role("button", name="remove bad..@").click()
    page.get_by_text("More").click()
    page.get_by_label("Metadata").fill("{not json")
    expect(page.locator("#compose-hint")).to_contain_text("not JSON")
    page.get_by_label("Metadata").fill("")
    page.get_by_label("Type").fill("x" * 200)
    text_of(page).press("Control+Enter")
    refused = page.locator(".outbox .entry.refused")
    expect(refused).to_contain_text("TYPE_TOO_LONG")
    refused.get_by_role("button", name="Edit").click()
    expect(text_of(page)).to_have_value("for one of two")
    page.get_by_label("Type").fill("")
    text_of(page).press("Control+Enter")
    expect(page.locator(".outbox .entry.sent")).to_contain_text("for one of two")
    assert contents(stage, "bob") == ["for one of two"]


def test_a_reply_has_thread_and_answer_and_can_acknowledge(stage: Stage) -> None:
    question = stage.send("ana", "dashboard", "which port?", thread_id="ports")
    page = stage.open(f"#/mine?id={question}")
    expect(page.locator(".message")).to_contain_text("which port?")
    page.locator(".message").click()
    page.keyboard.press("Shift+R")
    expect(page.locator(".compose-form")).to_contain_text("answers “which port?”")
    text_of(page).press_sequentially("8080")
    text_of(page).press("Control+Enter")
    expect(page.locator(".outbox .entry.sent")).to_contain_text("8080")
    (answer,) = stage.room.check_inbox("ana")
    assert (answer.thread_id, answer.in_reply_to, answer.content) == ("ports", question, "8080")
    wait_until(lambda: stage.room.get_message(question).message.read, "the question is acknowledged")


def test_a_draft_that_was_left_for_a_reply_can_be_continued(stage: Stage) -> None:
    question = stage.send("ana", "dashboard", "quick question")
    page = stage.open(f"#/mine?id={question}")
    write(page, "bob", "a long text")
    page.locator(".message").get_by_role("button", name="Reply", exact=True).click()
    expect(text_of(page)).to_have_value("")
    text_of(page).press_sequentially("quick answer")
    text_of(page).press("Control+Enter")
    expect(page.locator(".outbox .entry.sent")).to_contain_text("quick answer")
    page.get_by_role("button", name="Draft to bob").click()
    expect(text_of(page)).to_have_value("a long text")


@pytest.mark.quick
def test_a_draft_can_be_continued_in_another_browser_and_is_sent_once(stage: Stage) -> None:
    one = stage.open()
    write(one, "bob", "begun here")
    expect(one.locator(".compose-form")).to_contain_text("draft saved")
    other = stage.open()  # another profile
    other.get_by_role("button", name="Write a message, or continue a draft").click()
    other.get_by_role("button", name="Draft to bob, from another browser").click()
    expect(text_of(other)).to_have_value("begun here")
    text_of(other).press("Control+Enter")
    expect(other.locator(".outbox .entry.sent")).to_contain_text("begun here")
    text_of(one).press("Control+Enter")  # the same draft has the same key
    expect(one.locator(".outbox .entry.sent")).to_contain_text("begun here")
    assert contents(stage, "bob") == ["begun here"]
    one.reload()
    expect(one.get_by_role("button", name="Write a message", exact=True)).to_be_visible()
    assert stage.dashboard.sign_in().get("drafts").json == {"drafts": []}


def test_two_versions_of_a_draft_are_both_kept(stage: Stage) -> None:
    one = stage.open()
    write(one, "bob", "version one")
    wait_until(lambda: bool(stage.dashboard.sign_in().get("drafts").json["drafts"]), "the server has the draft")
    other = stage.open()
    other.get_by_role("button", name="Write a message, or continue a draft").click()
    other.get_by_role("button", name="Draft to bob, from another browser").click()
    text_of(other).press_sequentially(", and two")
    wait_until(lambda: "and two" in str(stage.dashboard.sign_in().get("drafts").json), "the server has the version")
    one.reload()
    expect(text_of(one)).to_have_value("version one")
    one.get_by_role("button", name="Draft to bob, from another browser").click()
    expect(text_of(one)).to_have_value("version one, and two")
    text_of(one).press("Control+Enter")
    expect(one.locator(".outbox .entry.sent")).to_contain_text("and two")
    one.get_by_role("button", name="Draft to bob", exact=True).click()
    expect(text_of(one)).to_have_value("version one")


def test_several_recipients_have_an_outcome_each(stage: Stage) -> None:
    page = stage.open()
    write(page, "bob, ana carl", "to all of you")
    expect(page.locator(".chip")).to_have_count(3)
    text_of(page).press("Control+Enter")
    expect(page.locator(".outbox .entry.sent .ticks")).to_have_count(3)
    assert [contents(stage, name) for name in ("bob", "ana", "carl")] == [["to all of you"]] * 3


def test_an_unknown_recipient_is_named_with_the_nearest_one(stage: Stage) -> None:
    stage.room.check_inbox("reviewer")
    page = stage.open()
    expect(page.locator(".agents-table")).to_contain_text("reviewer")
    write(page, "reviewr", "typo")
    expect(page.locator("#compose-hint")).to_contain_text("did you mean reviewer?")


def test_enter_that_ends_the_input_of_a_script_does_not_send(stage: Stage) -> None:
    page = stage.open()
    write(page, "bob", "日本")
    text_of(page).evaluate(
        "element => element.dispatchEvent(new KeyboardEvent('keydown',"
        " { key: 'Enter', ctrlKey: true, isComposing: true, bubbles: true }))"
    )
    pause(0.5)
    assert page.evaluate(OUTBOX) == 0
    assert contents(stage, "bob") == []
