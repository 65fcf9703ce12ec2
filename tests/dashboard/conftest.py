"""Chromium, a real daemon and a real dashboard for the tests of the page (`support.harness.stage`)."""

import json
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from mailroom import Mailroom
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.harness.dashboard import Dashboard, running_dashboard
from support.harness.deployment import Deployment, running_deployment
from support.harness.stage import BOUND_MS, Stage

CHROMIUM = "/usr/bin/chromium"

expect.set_options(timeout=BOUND_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Generator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def arguments() -> tuple[str, ...]:
    """The dashboard's options; a module may define its own."""
    return ()


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    """The daemon's flags; a module may define its own."""
    return ()


@pytest.fixture(scope="module")
def daemon(flags: tuple[str, ...]) -> Generator[Deployment]:
    """One daemon for a module; starting one takes longer than most tests."""
    with running_deployment(*flags) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def dashboard(
    daemon: Deployment, tmp_path_factory: pytest.TempPathFactory, arguments: tuple[str, ...]
) -> Generator[Dashboard]:
    with running_dashboard(daemon.target, tmp_path_factory.mktemp("h"), *arguments) as running:
        yield running


@pytest.fixture
def stage(chromium: Browser, daemon: Deployment, dashboard: Dashboard) -> Generator[Stage]:
    """Gives the stage without any mail, and whatever a test has killed running again."""
    with Mailroom(daemon.target, sender="agent") as room:
        stage = Stage(daemon, dashboard, chromium, room)
        try:
            yield stage
            stage.assert_clean()
        finally:
            for context in stage.contexts:
                context.close()
            stage.restore()


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    """Returns a function that lists what axe-core finds serious or critical on a page."""
    source = (Path(__file__).parents[2] / ".venv/axe/node_modules/axe-core/axe.min.js").read_text()

    def check(page: Page) -> list[str]:
        page.evaluate(source)
        found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{one['id']} ({one['impact']}): {json.dumps([node['target'] for node in one['nodes']][:3])}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    return check
