"""Stage — a real daemon, a real dashboard and Chromium, for the tests of the page.

A page that throws, breaks its content policy or asks another host for anything is recorded, and fails its test.
"""

__all__ = ["BOUND_MS", "PHONE", "WIDE", "ZOOMED", "Stage"]

from dataclasses import dataclass, field
from typing import Any

from mailroom import Mailroom
from mailroom_apps.dashboard.sessions import Role
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize
from support.harness.dashboard import Dashboard
from support.harness.deployment import Deployment

CLEAR_SEC = 100.0  # 24,000 messages, on a busy machine
BOUND_MS = 40_000  # for anything that has to happen; most of it takes a tenth of a second
WIDE, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)
ZOOMED = ViewportSize(width=720, height=450)  # the wide one at 200 %


@dataclass
class Watched:
    """A page, and everything that it did and should not have done."""

    page: Page
    problems: list[str] = field(default_factory=list[str])


@dataclass
class Stage:
    """A daemon, a dashboard and a browser.

    Attributes:
        room: a client for the agents of a test.
        keeps_mail: leave the mail where it is after the test: deleting masses takes longer than a new daemon.
    """

    deployment: Deployment
    dashboard: Dashboard
    browser: Browser
    room: Mailroom
    watched: list[Watched] = field(default_factory=list[Watched])
    contexts: list[BrowserContext] = field(default_factory=list[BrowserContext])
    keeps_mail: bool = False

    def context(self, **options: Any) -> BrowserContext:
        """Returns a new browser profile, without a session."""
        chosen: dict[str, Any] = {"viewport": WIDE, "locale": "en-GB"} | options
        context = self.browser.new_context(**chosen)
        context.set_default_timeout(BOUND_MS)
        self.contexts.append(context)
        return context

    def watch(self, page: Page, url: str = "") -> Page:
        """Records what a page must not do; `url` is where it is served, if not by the dashboard directly."""
        watched = Watched(page)
        own = (url or self.dashboard.url).rstrip("/")

        def on_request(url: str) -> None:
            if not url.startswith((own, "data:", "blob:", "about:")):
                watched.problems.append(f"request to {url}")

        page.on("pageerror", lambda error: watched.problems.append(f"error {error}"))
        page.on("request", lambda request: on_request(request.url))
        page.on("console", lambda line: _record(watched, line.type, line.text))
        self.watched.append(watched)
        return page

    def open(self, fragment: str = "#/", *, role: Role = Role.OPERATOR, **options: Any) -> Page:
        """Opens a page in a new profile with a session, at a place."""
        page = self.watch(self.context(**options).new_page())
        page.goto(f"{self.dashboard.url}#k={self.dashboard.new_key(role)}")
        page.wait_for_selector("nav a[aria-current]")
        if fragment != "#/":
            self.go(page, fragment)
        return page

    def go(self, page: Page, fragment: str) -> None:
        page.evaluate("fragment => { location.hash = fragment }", fragment)

    def send(self, sender: str, to: str, content: str, **options: Any) -> str:
        """Sends a message as an agent and returns its id."""
        return self.room.send(to, content, sender=sender, **options).id

    def restore(self) -> None:
        """Starts again what a test has ended, and deletes all mail and drafts."""
        if self.deployment.process is None or self.deployment.process.poll() is not None:
            self.deployment.start()
        if self.dashboard.process is None or self.dashboard.process.poll() is not None:
            self.dashboard.start()
        for box in [] if self.keeps_mail else self.room.stats():
            self.room.clear(box.agent_id, timeout=CLEAR_SEC)
        for draft in (self.dashboard.files / "drafts").glob("*"):
            draft.unlink()

    def assert_clean(self) -> None:
        problems = [problem for watched in self.watched for problem in watched.problems]
        assert not problems, problems


def _record(watched: Watched, kind: str, text: str) -> None:
    """A refused or failed call is logged by the browser itself; anything else is ours."""
    if kind == "error" and "Failed to load resource" not in text and "ERR_" not in text:
        watched.problems.append(f"console: {text}")
