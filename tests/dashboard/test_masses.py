"""Masses of mail: a list of ten thousand messages, a day of events in one tab. They have a daemon of their own."""

from collections.abc import Callable
from typing import Any, cast

from mailroom import Draft
from playwright.sync_api import expect
from support.harness.stage import Stage


def test_ten_thousand_messages_need_few_elements_and_scroll_to_the_end(stage: Stage) -> None:
    stage.keeps_mail = True
    drafts = (Draft("long", f"message {number:05d}", sender="ana") for number in range(10_000))
    assert all(outcome.sent for outcome in stage.room.send_many(drafts))
    page = stage.open("#/m/long")
    expect(page.locator(".side .item").first).to_contain_text("message 09999")
    page.evaluate(
        """async () => {
          const scroller = document.querySelector('.side .scroller');
          const rows = document.querySelector('.side .rows');
          while (parseFloat(rows.style.height) < 10_000 * 52) {
            scroller.scrollTop = scroller.scrollHeight;
            await new Promise(done => setTimeout(done, 30));
          }
          scroller.scrollTop = scroller.scrollHeight;
        }"""
    )
    expect(page.locator(".side .item").last).to_contain_text("message 00000")
    assert page.locator(".side .item").last.get_attribute("aria-posinset") == "10000"
    assert page.evaluate("() => document.querySelectorAll('*').length") <= 1500
    frames = page.evaluate(
        """async () => {
          const scroller = document.querySelector('.side .scroller');
          const times = [];
          for (let step = 0; step < 100; step++) {
            const begin = performance.now();
            scroller.scrollTop = Math.random() * scroller.scrollHeight;
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            times.push(performance.now() - begin);
          }
          return times.sort((a, b) => a - b);
        }"""
    )
    print(f"two frames with a jump in 10,000 rows: p50 {frames[50]:.0f} ms, p95 {frames[95]:.0f} ms")
    assert frames[50] < 200


def test_a_day_of_events_leaves_the_page_as_small_as_before(stage: Stage) -> None:
    stage.keeps_mail = True
    page = stage.open("#/feed")
    expect(page.get_by_title("mail: connected", exact=True)).to_be_visible()
    session = page.context.new_cdp_session(page)
    command = cast("Callable[[str], dict[str, Any]]", cast("Any", session).send)  # its annotations are incomplete

    def measure() -> tuple[float, float]:
        command("HeapProfiler.collectGarbage")
        metrics = {one["name"]: one["value"] for one in command("Performance.getMetrics")["metrics"]}
        return metrics["JSHeapUsedSize"] / 1e6, metrics["Nodes"]

    def send(count: int, prefix: str) -> None:
        drafts = (Draft("bob", f"{prefix} {number}", sender="ana") for number in range(count))
        assert all(outcome.sent for outcome in stage.room.send_many(drafts))
        stage.send("ana", "bob", f"end of {prefix}")
        expect(page.locator(".side .item").first).to_contain_text(f"end of {prefix}")

    command("Performance.enable")
    send(12_000, "first")  # the list is at its limit of 10,000 rows
    before = measure()
    send(12_000, "second")
    after = measure()
    print(f"24,000 messages with receipts: heap {before[0]:.1f} to {after[0]:.1f} MB, nodes {before[1]} to {after[1]}")
    assert after[0] - before[0] < 5
    assert after[1] < before[1] * 1.1 + 200
