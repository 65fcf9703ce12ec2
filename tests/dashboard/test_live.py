"""The live page: what happens appears, in order and once, through restarts of all; nothing disturbs the reader."""

import signal
import threading
from collections.abc import Callable

import pytest
from mailroom_apps.dashboard.sessions import Role
from playwright.sync_api import Page, expect
from support.harness.stage import Stage
from support.harness.waiting import pause, wait_until

ALL_PREVIEWS = """async () => {
  const scroller = document.querySelector('.side .scroller');
  const seen = new Map();
  for (let top = 0; top <= scroller.scrollHeight; top += 200) {
    scroller.scrollTop = top;
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    for (const row of document.querySelectorAll('.side .item')) {
      if (row.querySelector('.incident')) continue;  // a worker was restarted: no message
      seen.set(row.dataset.key, row.querySelector('.preview').textContent);
    }
  }
  scroller.scrollTop = 0;
  return [...seen].sort((a, b) => a[0] < b[0] ? -1 : 1).map(([, text]) => text);
}"""


def more_are_sent(sent: list[str]) -> Callable[[], bool]:
    before = len(sent)
    return lambda: len(sent) > before + 20


def light(page: Page, name: str, *, connected: bool) -> None:
    expect(page.get_by_title(f"{name}: {'connected' if connected else 'not connected'}", exact=True)).to_be_visible()


@pytest.mark.quick
def test_a_message_appears_on_every_page_and_its_ticks_move_to_read(stage: Stage) -> None:
    stage.room.check_inbox("bob")
    one, other = stage.open(), stage.open(viewport={"width": 390, "height": 844})
    light(one, "mail", connected=True)
    message_id = stage.send("ana", "bob", "is it done?")
    for page in (one, other):
        row = page.locator(f"[data-key='{message_id}']")
        expect(row).to_contain_text("ana → bob")
        expect(row.locator(".ticks")).to_have_class("ticks filed")
    stage.room.check_inbox("bob")
    for page in (one, other):
        expect(page.locator(f"[data-key='{message_id}'] .ticks")).to_have_class("ticks offered")
    stage.room.acknowledge("bob", message_id)
    for page in (one, other):
        expect(page.locator(f"[data-key='{message_id}'] .ticks")).to_have_class("ticks read")


def test_everything_that_is_sent_is_shown_once_through_kills_of_all(stage: Stage) -> None:
    page = stage.open("#/feed")
    light(page, "daemon", connected=True)
    sent: list[str] = []
    stopping = threading.Event()

    def send_always() -> None:
        while not stopping.is_set():
            content = f"message {len(sent):04d}"
            stage.send("ana", "bob", content)
            sent.append(content)
            pause(0.02)

    sender = threading.Thread(target=send_always)
    sender.start()
    try:
        page.get_by_role("button", name="Write a message").click()
        content = page.get_by_role("textbox", name="Message", exact=True)
        content.press_sequentially("begun before")
        for _ in range(2):
            wait_until(more_are_sent(sent), "some messages are sent")
            stage.deployment.kill()
            stage.deployment.start()
        stage.dashboard.stop(signal.SIGKILL)
        wait_until(more_are_sent(sent), "some messages are sent meanwhile")
        stage.dashboard.start()
        content.press_sequentially(", and after")
    finally:
        stopping.set()
        sender.join()
    light(page, "mail", connected=True)
    expect(page.locator(".side .item").first).to_contain_text(sent[-1])
    expect(content).to_be_focused()
    expect(content).to_have_value("begun before, and after")
    assert page.evaluate(ALL_PREVIEWS) == sent


@pytest.mark.quick
def test_a_daemon_that_goes_away_is_told_and_its_return_too(stage: Stage) -> None:
    stage.send("ana", "bob", "before")
    page = stage.open()
    expect(page.locator(".feed-card")).to_contain_text("before")
    stage.deployment.kill()
    light(page, "daemon", connected=False)
    light(page, "dashboard", connected=True)
    expect(page.get_by_role("alert").first).to_contain_text("daemon")
    expect(page.locator(".feed-card")).to_contain_text("before")
    stage.deployment.start()
    light(page, "daemon", connected=True)
    expect(page.locator(".notice")).to_be_hidden()
    stage.send("ana", "bob", "after")
    expect(page.locator(".feed-card")).to_contain_text("after")


@pytest.mark.parametrize("view", ["", "feed", "m/bob", "who?h=24", "t/old", "id/{id}"])
def test_a_view_that_was_opened_without_a_daemon_is_filled_when_it_is_there(stage: Stage, view: str) -> None:
    message_id = stage.send("ana", "bob", "it was here all the time", thread_id="old")
    page = stage.open("#/health")
    stage.deployment.kill()
    light(page, "daemon", connected=False)
    stage.go(page, f"#/{view.format(id=message_id)}")
    expect(page.get_by_role("main")).to_contain_text("daemon")
    stage.deployment.start()
    shown = "1 message" if view.startswith("who") else "it was here all the time"
    expect(page.get_by_role("main")).to_contain_text(shown)


def test_a_dashboard_that_is_silent_is_noticed_and_nothing_is_missed(stage: Stage) -> None:
    page = stage.open()
    light(page, "daemon", connected=True)
    assert stage.dashboard.process is not None
    stage.dashboard.process.send_signal(signal.SIGSTOP)
    try:
        stage.send("ana", "bob", "said in the silence")
        light(page, "dashboard", connected=False)  # after twelve seconds, although the connection is open
    finally:
        stage.dashboard.process.send_signal(signal.SIGCONT)
    light(page, "dashboard", connected=True)
    expect(page.locator(".feed-card")).to_contain_text("said in the silence")


def test_new_rows_wait_while_the_reader_is_below_the_top(stage: Stage) -> None:
    for number in range(60):
        stage.send("ana", "bob", f"old {number}")
    page = stage.open("#/feed")
    scroller = page.locator(".side .scroller")
    expect(page.locator(".side .item").first).to_contain_text("old 59")
    scroller.evaluate("element => { element.scrollTop = 400 }")
    page.wait_for_function("() => document.querySelector('.side .item')?.textContent.includes('old 5')")
    before = page.locator(".side .item").all_inner_texts()
    stage.send("ana", "bob", "new one")
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    assert page.locator(".side .item").all_inner_texts() == before
    page.get_by_role("button", name="1 new").click()
    expect(page.locator(".side .item").first).to_contain_text("new one")


def test_a_page_of_another_life_of_the_database_loads_everything_again(stage: Stage) -> None:
    page = stage.open()
    light(page, "daemon", connected=True)
    stage.send("ana", "bob", "in the old database")
    expect(page.locator(".feed-card")).to_contain_text("in the old database")
    stage.deployment.kill()
    stage.deployment.daemon.state_dir = stage.deployment.directory / "other"
    stage.deployment.start()
    light(page, "daemon", connected=True)
    stage.send("ana", "bob", "in the new database")
    expect(page.locator(".feed-card")).to_contain_text("in the new database")


def test_who_waits_and_who_is_stuck_is_on_the_first_screen(stage: Stage) -> None:
    stage.room.check_inbox("bob")
    page = stage.open()
    expect(page.get_by_text("Nobody is waiting for you.")).to_be_visible()
    expect(page.get_by_text("Nothing is stuck.")).to_be_visible()
    stage.send("ana", "dashboard", "which port?", priority="urgent")
    card = page.locator(".cards [data-own]")
    expect(card).to_contain_text("which port?")
    expect(card).to_contain_text("urgent")
    expect(page).to_have_title("(1) Mailroom")
    stage.room.acknowledge("dashboard", [m.id for m in stage.room.check_inbox("dashboard", observe=True)])
    expect(page.get_by_text("Nobody is waiting for you.")).to_be_visible()
    expect(page).to_have_title("Mailroom")


@pytest.mark.quick
def test_mail_counts_as_offered_only_after_a_second_in_sight_and_never_as_read(stage: Stage) -> None:
    message_id = stage.send("ana", "dashboard", "look at this")
    assert stage.room.get_message(message_id).message.state == "filed"
    page = stage.open()
    expect(page.locator(".cards [data-own]")).to_be_visible()
    wait_until(
        lambda: stage.room.get_message(message_id).message.state == "offered", "the daemon knows that it was shown"
    )
    page.locator(".cards [data-own] a").click()
    expect(page.locator(".message")).to_contain_text("look at this")
    pause(1.5)
    assert stage.room.get_message(message_id).message.state == "offered"
    page.keyboard.press("e")
    wait_until(lambda: stage.room.get_message(message_id).message.state == "read", "a key press acknowledges it")


@pytest.mark.quick
def test_an_observer_marks_nothing_offered_and_has_nothing_to_write_with(stage: Stage) -> None:
    message_id = stage.send("ana", "dashboard", "not for your eyes")
    page = stage.open(role=Role.OBSERVER)
    expect(page.locator(".cards [data-own]")).to_be_visible()
    pause(2.5)
    assert stage.room.get_message(message_id).message.state == "filed"
    expect(page.locator(".compose")).to_be_hidden()
    expect(page.get_by_role("button", name="Reply")).to_have_count(0)
    page.keyboard.press("c")
    expect(page.locator(".compose")).to_be_hidden()
