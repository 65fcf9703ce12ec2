"""Attacks on the page from the outside: another site, another port, a rebound name, a stolen or leaked link."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page, expect
from support.harness.stage import Stage
from support.harness.waiting import pause

KEY = "8c5b1c1e-1111-4222-8333-0123456789ab"
BODY = f'{{"key":"{KEY}","to":["victim"],"content":"forged"}}'


@contextmanager
def site(page: str, seen: "list[tuple[str, str]] | None" = None) -> Generator[str]:
    """Serves a page on another port of the loopback interface, and notes path and Cookie of each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if seen is not None:
                seen.append((self.path, self.headers.get("cookie", "") + self.headers.get("referer", "")))
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def signed_in(stage: Stage) -> Page:
    page = stage.open()
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    return page


@pytest.mark.quick
def test_a_dev_server_on_another_port_cannot_read_send_or_frame(stage: Stage) -> None:
    """The cookie goes to it, and its requests carry the cookie: only origin and page token keep it out."""
    page = signed_in(stage)
    url = stage.dashboard.url
    seen: list[tuple[str, str]] = []
    with site("<h1>dev server</h1>", seen) as foreign:
        attacker = page.context.new_page()
        attacker.goto(foreign)
        assert f"mailroom_{stage.dashboard.port}=" in seen[0][1]  # the threat is real
        outcomes = attacker.evaluate(
            """async ([url, body]) => {
              const attempt = async (path, options) => {
                try { return (await fetch(url + path, { credentials: 'include', ...options })).status; }
                catch { return 'blocked'; }
              };
              return [
                await attempt('api/hello'), await attempt('api/stream'),
                await attempt('api/send', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } }),
                await attempt('api/send', { method: 'POST', body, headers: { 'Content-Type': 'text/plain' } }),
                await attempt('api/send', { method: 'POST', body, mode: 'no-cors' }),
                await new Promise((done) => {
                  const frame = document.createElement('iframe');
                  frame.onload = () => done('loaded');
                  frame.src = url;
                  document.body.append(frame);
                }),
                await new Promise((done) => {
                  const script = document.createElement('script');
                  script.onload = () => done('loaded');
                  script.onerror = () => done('blocked');
                  script.type = 'module';
                  script.src = url + 'app/main.js';
                  document.body.append(script);
                }),
              ];
            }""",
            [url, BODY],
        )
        assert {*outcomes[:5], outcomes[6]} == {"blocked"}
        frame = next(frame for frame in attacker.frames if frame != attacker.main_frame)
        assert frame.url.startswith("chrome-error:")
        window = attacker.evaluate("url => { const other = open(url); return other === null || typeof other }", url)
        assert window in (True, "object")
    assert list(stage.room.iter_messages("victim")) == []


def test_a_form_on_another_site_sends_nothing(stage: Stage) -> None:
    page = signed_in(stage)
    form = (
        f'<form method="post" enctype="text/plain" action="{stage.dashboard.url}api/send">'
        f"<input name='{BODY[:-1]},\"type\":\"' value='\"}}'></form><script>document.forms[0].submit()</script>"
    )
    with site(form) as foreign:
        attacker = page.context.new_page()
        with attacker.expect_response("**/api/send") as answered:
            attacker.goto(foreign)
        assert answered.value.status == 403
    assert list(stage.room.iter_messages("victim")) == []


@pytest.mark.quick
def test_a_name_rebound_to_loopback_gets_nothing(stage: Stage, launch: Callable[..., Browser]) -> None:
    browser = launch("--host-resolver-rules=MAP rebound.example 127.0.0.1")
    page = browser.new_page()
    answer = page.goto(f"http://rebound.example:{stage.dashboard.port}/")
    assert answer is not None
    assert answer.status == 421
    statuses = page.evaluate(
        """async () => Promise.all(['/', '/app/main.js', '/api/hello', '/api/stream', '/%61pi/hello'].map(
          async (path) => (await fetch(path)).status))"""
    )
    assert statuses == [421] * 5


@pytest.mark.quick
def test_the_key_of_the_link_leaves_the_address_and_the_history(stage: Stage) -> None:
    page = stage.watch(stage.context().new_page())
    key = stage.dashboard.new_key()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.url} {request.headers} {request.post_data}"))
    page.goto(f"{stage.dashboard.url}#k={key}")
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    assert page.url == f"{stage.dashboard.url}#/"
    assert [request.split(" ")[0] for request in sent if key in request] == [f"{stage.dashboard.url}api/session"]
    assert key not in str(page.evaluate("() => JSON.stringify([localStorage, sessionStorage, document.cookie])"))
    assert page.evaluate("() => document.cookie") == ""  # the session's cookie is out of reach of scripts
    page.go_back()
    assert key not in page.url


def test_a_link_that_was_used_opens_nothing_and_says_how_to_get_another(stage: Stage) -> None:
    key = stage.dashboard.new_key()
    assert stage.dashboard.open_key(key).status == 200
    page = stage.context().new_page()
    page.goto(f"{stage.dashboard.url}#k={key}")
    expect(page.get_by_role("heading", name="This browser has no session")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("mailroom dashboard link")


def test_a_bad_key_from_another_site_does_not_end_the_session(stage: Stage) -> None:
    page = signed_in(stage)
    with site(f'<a href="{stage.dashboard.url}#k=forged">go</a>') as foreign:
        other = page.context.new_page()
        other.goto(foreign)
        other.get_by_role("link", name="go").click()
        expect(other.get_by_title("mail: connected", exact=True)).to_be_visible()
        expect(other.locator(".toast")).to_contain_text("the link was used already")
        assert "forged" not in other.url


def test_a_link_in_mail_gives_away_neither_address_nor_token(stage: Stage) -> None:
    seen: list[tuple[str, str]] = []
    with site("<script>document.title = String(window.opener) + document.referrer</script>", seen) as foreign:
        message_id = stage.send("eve", "dashboard", f"[look]({foreign}path)")
        page = stage.context().new_page()
        page.goto(f"{stage.dashboard.url}#k={stage.dashboard.new_key()}")
        page.wait_for_selector("nav a[aria-current]")
        stage.go(page, f"#/id/{message_id}")
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="look").click()
        opened.value.wait_for_load_state()
        assert opened.value.title() == "null"
    token = page.evaluate("() => Object.entries(localStorage).find(([key]) => key.endsWith(':token'))[1]")
    assert seen[0][0] == "/path"
    assert token.strip('"') not in str(seen)
    assert stage.dashboard.url not in str(seen)


def test_a_deep_link_from_another_site_opens_the_place(stage: Stage) -> None:
    message_id = stage.send("ana", "bob", "the place")
    page = signed_in(stage)
    with site(f'<a href="{stage.dashboard.url}#/id/{message_id}">go</a>') as foreign:
        other = page.context.new_page()
        other.goto(foreign)
        other.get_by_role("link", name="go").click()
        expect(other.locator(".message")).to_contain_text("the place")


def test_a_session_that_is_ended_elsewhere_closes_the_page_and_keeps_the_draft(stage: Stage) -> None:
    page = signed_in(stage)
    page.get_by_role("button", name="Write a message").click()
    page.get_by_role("textbox", name="Message", exact=True).fill("not lost")
    admin = stage.dashboard.sign_in()
    sessions = admin.get("audit").json["sessions"]
    other = max((one for one in sessions if "Chrome" in one["agent"]), key=lambda one: one["created_at"])["id"]
    admin.post("session/revoke", {"session": other})
    expect(page.get_by_role("heading", name="This browser has no session")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value("not lost")
    page.goto(f"{stage.dashboard.url}#k={stage.dashboard.new_key()}")  # in the same tab, which loads itself again
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value("not lost")


def test_the_pages_own_script_cannot_make_html_or_code_of_text(stage: Stage) -> None:
    page = signed_in(stage)
    results = page.evaluate(
        """() => ['innerHTML', 'outerHTML', 'srcdoc', 'eval', 'script', 'style'].map((sink) => {
          try {
            if (sink === 'eval') setTimeout('globalThis.hacked = 1');
            else if (sink === 'srcdoc') document.createElement('iframe').srcdoc = '<p>';
            else if (sink === 'script') document.createElement('script').text = 'hacked = 1';
            else if (sink === 'style') {
              const element = document.createElement('p');
              document.body.append(element);
              element.setAttribute('style', 'position: fixed');
              return getComputedStyle(element).position === 'fixed' ? 'set' : 'blocked';
            } else document.body.appendChild(document.createElement('p'))[sink] = '<img src=x>';
            return 'set';
          } catch { return 'blocked'; }
        })"""
    )
    pause(0.3)
    stage.watched[-1].problems.clear()  # the violations that were provoked
    assert results == ["blocked"] * 6
    assert page.evaluate("() => typeof hacked") == "undefined"


@pytest.fixture
def launch(chromium: Browser) -> Generator[Callable[..., Browser]]:
    browsers: list[Browser] = []

    def start(*arguments: str) -> Browser:
        browser = chromium.browser_type.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", *arguments])
        browsers.append(browser)
        return browser

    yield start
    for browser in browsers:
        browser.close()
