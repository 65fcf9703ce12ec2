"""Unusual circumstances: a proxy with a path, a network that is silent, a frozen tab, wrong clocks, paper."""

import re
from collections.abc import Generator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from support.harness.dashboard import Dashboard
from support.harness.reverse_proxy import ReverseProxy, running_proxy
from support.harness.stage import Stage
from support.harness.waiting import pause

PREFIX = "/some/path/"


@pytest.fixture(scope="module")
def own_proxy() -> Generator[ReverseProxy]:
    with running_proxy(PREFIX) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def arguments(own_proxy: ReverseProxy) -> tuple[str, ...]:
    return ("--public-url", own_proxy.url)


@pytest.fixture
def proxy(own_proxy: ReverseProxy, dashboard: Dashboard) -> Generator[ReverseProxy]:
    own_proxy.target_port = dashboard.port
    yield own_proxy
    own_proxy.speaking.set()


def open_behind(stage: Stage, proxy: ReverseProxy) -> Page:
    page = stage.watch(stage.context().new_page(), proxy.url)
    page.goto(f"{proxy.url}#k={stage.dashboard.new_key()}")
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    return page


def text_of_feed(page: Page) -> str:
    return page.locator(".feed-card").inner_text()


def test_the_page_works_below_the_path_of_a_proxy(stage: Stage, proxy: ReverseProxy) -> None:
    assert stage.dashboard.first_link.startswith(f"{proxy.url}#k=")
    page = open_behind(stage, proxy)
    message_id = stage.send("ana", "bob", "through the proxy")
    expect(page.locator(".feed-card")).to_contain_text("through the proxy")
    page.locator(f"[data-key='{message_id}'] a").click()
    expect(page.locator(".message")).to_contain_text("through the proxy")
    page.get_by_role("button", name="Reply", exact=True).click()
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_focused()
    page.keyboard.type("and back")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outbox .entry.sent")).to_contain_text("and back")
    (cookie,) = page.context.cookies()
    assert (cookie.get("path"), cookie.get("httpOnly"), cookie.get("sameSite")) == (PREFIX, True, "Strict")
    page.reload()
    expect(page.locator(".message")).to_contain_text("through the proxy")


def test_a_silent_network_is_noticed_and_nothing_is_missed_or_shown_twice(stage: Stage, proxy: ReverseProxy) -> None:
    page = open_behind(stage, proxy)
    stage.send("ana", "bob", "message 0")
    expect(page.locator(".feed-card")).to_contain_text("message 0")
    proxy.speaking.clear()
    for number in range(1, 20):
        stage.send("ana", "bob", f"message {number}")
    expect(page.get_by_title("dashboard: not connected", exact=True)).to_be_visible()
    assert "message 1 " not in text_of_feed(page)
    proxy.speaking.set()
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    expect(page.locator(".feed-card .item").first).to_contain_text("message 19")
    wanted = [f"message {number}" for number in range(19, -1, -1)]
    shown = page.locator(".feed-card .item").evaluate_all(
        "rows => rows.map(row => row.querySelector('.preview').textContent)"
    )
    assert shown == wanted[: len(shown)]
    assert len(shown) > 5


def test_a_frozen_tab_catches_up_without_a_gap(stage: Stage) -> None:
    page = stage.open()
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    session: Any = page.context.new_cdp_session(page)
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    for number in range(30):
        stage.send("ana", "bob", f"frozen {number}")
    pause(2.0)
    session.send("Page.setWebLifecycleState", {"state": "active"})
    expect(page.locator(".feed-card .item").first).to_contain_text("frozen 29")
    assert page.locator(".feed-card .item").first.get_attribute("aria-setsize") == "30"


def test_a_proxy_that_answers_for_the_dashboard_is_not_mistaken_for_it(stage: Stage) -> None:
    page = stage.open()
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    answers = [502, 503, 429]

    def fail_first(route: Route) -> None:
        if answers:
            route.fulfill(status=answers.pop(), body="<h1>Bad Gateway</h1>", content_type="text/html")
        else:
            route.continue_()

    page.route("**/api/stream", fail_first)
    stage.dashboard.stop()
    expect(page.get_by_title("dashboard: not connected", exact=True)).to_be_visible()
    stage.dashboard.start()
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    assert answers == [], "every wrong answer was given"
    stage.send("ana", "bob", "still here")
    expect(page.locator(".feed-card")).to_contain_text("still here")


@pytest.mark.parametrize("hours", [-1, 1])
def test_ages_go_by_the_servers_clock_and_a_wrong_clock_is_told(stage: Stage, hours: int) -> None:
    context = stage.context()
    context.add_init_script(f"const real = Date.now; Date.now = () => real() + {hours} * 3_600_000;")
    page = stage.watch(context.new_page())
    page.goto(f"{stage.dashboard.url}#k={stage.dashboard.new_key()}")
    expect(page.locator(".notice")).to_contain_text("clock")
    stage.send("ana", "dashboard", "how old?")
    expect(page.locator(".cards [data-own] time")).to_have_text(re.compile(r"^[0-9]{1,2}s$"))


def test_a_thread_is_printed_whole_and_without_the_page_around_it(stage: Stage) -> None:
    long_text = "\n\n".join(f"paragraph {number}" for number in range(200))
    parts = [stage.send("ana", "bob", f"part {number}\n\n{long_text}", thread_id="report") for number in range(3)]
    page = stage.open(f"#/m/bob?id={parts[-1]}")
    expect(page.locator(".message")).to_have_count(3)
    page.emulate_media(media="print")
    for hidden in (".top", ".compose", ".side", ".actions"):
        expect(page.locator(hidden).first).to_be_hidden()
    height = page.evaluate("() => document.documentElement.scrollHeight")
    needed = page.locator(".pane-body").evaluate("element => element.scrollHeight")
    assert height >= needed > 3 * 200 * 15, "the page is as high as its content, so all of it is printed"
    assert page.pdf()[:5] == b"%PDF-"
