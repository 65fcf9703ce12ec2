"""Chromium, a real daemon and a real dashboard for the tests of the page (`support.harness.stage`)."""

import json
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from mailroom import Mailroom
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.harness.dashboard import running_dashboard
from support.harness.deployment import running_deployment
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


@pytest.fixture
def arguments() -> tuple[str, ...]:
    """The dashboard's options; a module may define its own."""
    return ()


@pytest.fixture
def stage(chromium: Browser, tmp_path: Path, arguments: tuple[str, ...]) -> Generator[Stage]:
    with (
        running_deployment() as deployment,
        running_dashboard(deployment.target, tmp_path, *arguments) as dashboard,
        Mailroom(deployment.target, sender="agent") as room,
    ):
        stage = Stage(deployment, dashboard, chromium, room)
        try:
            yield stage
            stage.assert_clean()
        finally:
            for context in stage.contexts:
                context.close()


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
