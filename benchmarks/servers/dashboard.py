"""dashboard — runs `mailroom dashboard` and Debian's Chromium for a benchmark."""

__all__ = ["Dashboard", "Tab", "browsing", "running_dashboard"]

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.servers.process import OutputReader, launch, stop

CHROMIUM = "/usr/bin/chromium"
MAILROOM = Path(sys.executable).with_name("mailroom")
READY_LINE = re.compile(r" is ready: (\S+)$")
CONNECTED = "() => document.querySelectorAll('.light.on').length === 3"

Tab = Page


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard that is ready."""

    process: subprocess.Popen[str]
    link: str
    port: int
    environment: dict[str, str]

    @property
    def url(self) -> str:
        """The address of the page."""
        return self.link.partition("#")[0]

    def new_link(self) -> str:
        """Returns a link for one more browser."""
        command = [str(MAILROOM), "dashboard", "link", "--listen", f"127.0.0.1:{self.port}"]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def sign_in(self, browser: Browser) -> Tab:
        """Returns a page of a new browser profile, which is connected."""
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(60_000)
        page.goto(self.new_link())
        page.wait_for_function(CONNECTED)
        return page


@contextmanager
def running_dashboard(address: str, data: Path) -> Generator[Dashboard]:
    """Runs a dashboard during a context.

    Args:
        address: the daemon's.
        data: the parent of its state directory.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    own = {"HOME": str(data), "MAILROOM_ADDRESS": address, "MAILROOM_STATE_DIR": str(data / "dashboard")}
    environment = inherited | own
    command = ["env", *(f"{name}={value}" for name, value in own.items()), str(MAILROOM)]
    process = launch([*command, "dashboard", "--no-open", "--listen", "127.0.0.1:0"], data)
    try:
        link = OutputReader(process, _link_in).wait()
        yield Dashboard(process, link, int(link.split(":")[2].split("/")[0]), environment)
    finally:
        stop(process)


@contextmanager
def browsing() -> Generator[Browser]:
    """Runs a browser during a context."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def _link_in(line: str) -> str | None:
    ready = READY_LINE.search(line)
    return ready[1] if ready else None
