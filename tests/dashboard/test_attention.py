"""Attention: notifications by one tab, for what needs the operator, while no tab is in sight; and few streams."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from support.harness.stage import Stage
from support.harness.waiting import pause, wait_until

# A headless page is always visible and shows no notifications: `hide()` and `shown` stand for both.
STAND_IN = """
window.shown = [];
window.permission = 'granted';
window.Notification = class {
  static get permission() { return window.permission; }
  static async requestPermission() { return window.permission; }
  constructor(title, options) { window.shown.push({ title, ...options }); }
  close() {}
};
let state = 'visible';
Object.defineProperty(Document.prototype, 'visibilityState', { get: () => state });
window.look = (next) => { state = next; document.dispatchEvent(new Event('visibilitychange')); };
"""


def context_of(stage: Stage) -> BrowserContext:
    context = stage.context()
    context.add_init_script(STAND_IN)
    return context


def tab(stage: Stage, context: BrowserContext, *, signs_in: bool = False) -> Page:
    page = stage.watch(context.new_page())
    page.goto(f"{stage.dashboard.url}{f'#k={stage.dashboard.new_key()}' if signs_in else ''}")
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    return page


def shown(page: Page) -> list[dict[str, Any]]:
    return page.evaluate("() => shown")


def choose(page: Page, times: int) -> None:
    for _ in range(times):
        page.get_by_role("button", name="Notify").click()
        expect(page.locator(".toast")).to_contain_text("notifications")


def hide(*pages: Page) -> None:
    for page in pages:
        page.evaluate("() => look('hidden')")


def titles(page: Page) -> list[str]:
    return [one["title"] for one in shown(page)]


def test_mail_to_the_operator_notifies_while_no_tab_is_in_sight(stage: Stage) -> None:
    page = tab(stage, context_of(stage), signs_in=True)
    choose(page, 1)
    stage.send("ana", "dashboard", "while you look")
    expect(page.locator(".cards [data-own]")).to_have_count(1)
    hide(page)
    message_id = stage.send("ana", "dashboard", "while you do not")
    stage.send("ana", "bob", "urgent for bob", priority="urgent")
    wait_until(lambda: shown(page) != [], "there is a notification")
    stage.send("bob", "ana", "the last one")
    expect(page.locator(".feed-card")).to_contain_text("the last one")
    (one,) = shown(page)
    assert (one["title"], one["body"], one["tag"]) == ("ana wrote to you", "while you do not", message_id)


def test_urgent_mail_to_anyone_notifies_if_that_is_chosen(stage: Stage) -> None:
    page = tab(stage, context_of(stage), signs_in=True)
    choose(page, 2)
    hide(page)
    stage.send("ana", "bob", "not urgent")
    stage.send("ana", "bob", "now!", priority="urgent")
    wait_until(lambda: titles(page) == ["Urgent: ana wrote to bob"], "urgent mail to bob notifies")


def test_a_burst_becomes_one_notification(stage: Stage) -> None:
    page = tab(stage, context_of(stage), signs_in=True)
    choose(page, 1)
    hide(page)
    for number in range(6):
        stage.send("ana", "dashboard", f"number {number}")
    wait_until(lambda: len(shown(page)) == 6, "each was handed over")
    assert titles(page) == ["ana wrote to you"] * 3 + ["Several things need you"] * 3
    assert len({one["tag"] for one in shown(page)[3:]}) == 1, "one replaces the other"


def test_one_tab_notifies_and_another_takes_over_when_it_is_closed(stage: Stage) -> None:
    context = context_of(stage)
    first = tab(stage, context, signs_in=True)
    second = tab(stage, context)
    choose(first, 1)
    hide(first, second)
    stage.send("ana", "dashboard", "for the first")
    wait_until(lambda: titles(first) == ["ana wrote to you"], "the first tab notifies")
    assert shown(second) == []
    first.close()
    pause(0.5)  # the lock passes on
    stage.send("ana", "dashboard", "for the second")
    wait_until(lambda: titles(second) == ["ana wrote to you"], "the second tab notifies")


def test_a_daemon_that_is_away_for_long_notifies_and_a_short_absence_does_not(stage: Stage) -> None:
    page = tab(stage, context_of(stage), signs_in=True)
    choose(page, 1)
    hide(page)
    stage.deployment.kill()
    stage.deployment.start()
    expect(page.get_by_title("daemon: connected", exact=True)).to_be_visible()
    assert shown(page) == []
    stage.deployment.kill()
    wait_until(lambda: titles(page) == ["The Mailroom daemon does not answer"], "its absence notifies")


def test_without_permission_nothing_is_shown_and_the_page_says_so(stage: Stage) -> None:
    page = tab(stage, context_of(stage), signs_in=True)
    page.evaluate("() => { permission = 'denied' }")
    page.get_by_role("button", name="Notify").click()
    expect(page.locator(".toast")).to_contain_text("the browser does not allow notifications")
    hide(page)
    stage.send("ana", "dashboard", "quietly")
    expect(page).to_have_title("(1) Mailroom")
    assert shown(page) == []


def wait_for(page: Page, condition: Callable[[], bool]) -> None:
    """Waits for what events of pages bring about; they are received only while the browser is asked for something."""
    wait_until(lambda: page.evaluate("() => true") and condition(), "the streams are as few as they should be")


def number_of(streams: dict[Page, set[Any]]) -> int:
    return sum(map(len, streams.values()))


def open_streams(page: Page) -> set[Any]:
    """Returns a set that always holds the page's open streams."""
    streams: set[Any] = set()
    page.on("request", lambda request: streams.add(request) if request.url.endswith("/api/stream") else None)
    for name in ("requestfinished", "requestfailed"):
        page.on(name, lambda request: streams.discard(request))
    return streams


@pytest.mark.timeout(180)
def test_twelve_tabs_need_two_streams_and_a_hidden_one_catches_up_at_once(stage: Stage) -> None:
    context = context_of(stage)
    streams: dict[Page, set[Any]] = {}
    for number in range(12):
        page = stage.watch(context.new_page())
        streams[page] = open_streams(page)
        page.goto(f"{stage.dashboard.url}{f'#k={stage.dashboard.new_key()}' if not number else ''}")
        expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
        if number != 11:
            hide(page)  # one window, in which the latest tab is in front
        if number in (4, 8):  # six open streams would block the browser
            wait_for(page, lambda: number_of(streams) == 1)
    front, hidden = list(streams)[-1], list(streams)[5]
    wait_for(front, lambda: number_of(streams) == 2)  # of the tab that notifies, and of the one in front
    stage.send("ana", "bob", "seen later")
    expect(front.locator(".feed-card")).to_contain_text("seen later")
    assert "seen later" not in hidden.locator(".feed-card").inner_text()
    hidden.evaluate("() => look('visible')")
    expect(hidden.locator(".feed-card")).to_contain_text("seen later")


def test_a_dashboard_that_is_gone_does_not_notify_as_a_daemon_that_is_gone(stage: Stage) -> None:
    page = tab(stage, context_of(stage), signs_in=True)
    choose(page, 1)
    hide(page)
    stage.dashboard.stop(signal.SIGKILL)
    expect(page.get_by_title("dashboard: not connected", exact=True)).to_be_visible()
    stage.dashboard.start()
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    assert shown(page) == []
