"""dashboard — is the page as quick, and as small, as one that stays open all day has to be?"""

__all__ = ["measure"]

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any, cast

from mailroom import Draft, Mailroom
from playwright.sync_api import Browser

from benchmarks import procfs
from benchmarks.results import Figure, Options, Result, Samples, at_most, new_result
from benchmarks.servers.daemon import running
from benchmarks.servers.dashboard import CONNECTED, Dashboard, Tab, browsing, running_dashboard
from benchmarks.servers.process import data_directory

QUESTION = "How long until the page shows something, how much of the machine does it use, and does it stay so?"
METHOD = (
    "Debian's Chromium without a window, by Playwright, with a daemon and a dashboard on the same machine; times are "
    "taken inside the page. A send counts until the frame after its row has appeared, a key until the frame after its "
    "character. The heap is measured after a collection of garbage."
)
COMMAND = ".venv/bin/python -m benchmarks dashboard"
RING_EVENTS = 5_000
MANY = ("--max-unread", "10000000")  # one sender may leave far fewer unread

WATCH_ROWS = """() => {
  window.delays = [];
  const seen = new Set();
  new MutationObserver(() => {
    for (const row of document.querySelectorAll('.item')) {
      const sent = /^at ([0-9.]+)/.exec(row.querySelector('.preview').textContent);
      if (!sent || seen.has(row.dataset.key)) continue;
      seen.add(row.dataset.key);
      requestAnimationFrame(() => delays.push(Date.now() - Number(sent[1])));
    }
  }).observe(document.body, { childList: true, subtree: true });
}"""
WATCH_KEYS = """() => {
  window.delays = [];
  const field = document.getElementById('compose-content');
  let pressed = 0;
  field.addEventListener('keydown', (event) => (pressed = event.timeStamp), true);
  field.addEventListener('input', () => {
    const begin = pressed;
    requestAnimationFrame(() => delays.push(performance.now() - begin));
  });
}"""
SCROLL = """async () => {
  const scroller = document.querySelector('.side .scroller');
  const rows = document.querySelector('.side .rows');
  while (parseFloat(rows.style.height) < ROWS * 52) {
    scroller.scrollTop = scroller.scrollHeight;
    await new Promise((done) => setTimeout(done, 30));
  }
  const times = [];
  for (let step = 0; step < 200; step++) {
    scroller.scrollTop = (step / 200) * scroller.scrollHeight;
    const begin = performance.now();
    await new Promise((done) => requestAnimationFrame(done));
    times.push(performance.now() - begin);
  }
  return times;
}"""
SIZE = """() => [performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')]
  .filter((one) => !one.name.includes('/api/')).reduce((sum, one) => sum + one.transferSize, 0)"""
FOREIGN = """() => performance.getEntriesByType('resource')
  .filter((one) => /^https?:/.test(one.name) && new URL(one.name).origin !== location.origin).length"""
LIST_OF_ONE = "() => document.querySelectorAll('.side .item').length === 1"


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    samples: Samples = {}
    data = data_directory()
    socket = f"unix:{data}/m.sock"
    with running_dashboard(socket, data) as dashboard, browsing() as browser:
        with running("daemon", *MANY, "--listen", socket, data=data), Mailroom(socket, sender="ana") as room:
            figures = [
                *_first_screen(dashboard, browser, room, options, samples),
                *_pushes(dashboard, browser, room, options, samples),
                *_keys(dashboard, browser, room, options, samples),
                *_long_list(dashboard, browser, room, options, samples),
                *_process(dashboard, browser, samples),
                *_silence(dashboard, browser, options, samples),
                *_long_day(dashboard, browser, room, options, samples),
            ]
        figures += _returns(dashboard, browser, socket, data, options, samples)
    return new_result("dashboard", QUESTION, METHOD, options, figures, samples)


def _first_screen(
    dashboard: Dashboard, browser: Browser, room: Mailroom, options: Options, samples: Samples
) -> list[Figure]:
    for number in range(30):
        room.send(f"agent-{number % 10}", f"message {number}")
    page = dashboard.sign_in(browser)
    paints, screens = samples.setdefault("first paint", []), samples.setdefault("first screen", [])
    for _ in range(options.pick(20, 5)):
        page.goto("about:blank")
        page.goto(dashboard.url)
        page.wait_for_function("() => document.querySelector('.feed-card .item')")
        screens.append(page.evaluate("() => performance.now()"))
        paints.append(page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    fresh = browser.new_context().new_page()
    fresh.goto(dashboard.new_link())
    fresh.wait_for_function(CONNECTED)
    size, foreign = fresh.evaluate(SIZE) / 1000, fresh.evaluate(FOREIGN)
    _close(page, fresh)
    return [
        Figure("first paint, warm, p50", _p50(paints), "ms", COMMAND, at_most(200)),
        Figure("first screen with data, p50", _p50(screens), "ms", COMMAND, at_most(500)),
        Figure("page, scripts and style, compressed", size, "kB", COMMAND, at_most(80)),
        Figure("requests to other hosts", foreign, "", COMMAND, at_most(0)),
    ]


def _pushes(dashboard: Dashboard, browser: Browser, room: Mailroom, options: Options, samples: Samples) -> list[Figure]:
    pages = [dashboard.sign_in(browser) for _ in range(2)]
    for page in pages:
        page.evaluate(WATCH_ROWS)
    count = options.pick(400, 60)
    for _ in range(count):
        room.send("bob", f"at {time.time() * 1000:.1f}")
        time.sleep(0.05)
    delays: list[float] = []
    for page in pages:
        page.wait_for_function("count => delays.length >= count", arg=count)
        delays += page.evaluate("() => delays")
    samples["send to pixel"] = delays
    _close(*pages)
    return [
        Figure("send to pixel, two pages, 20 a second, p50", _p50(delays), "ms", COMMAND, at_most(50)),
        Figure("send to pixel, two pages, 20 a second, p99", _p99(delays), "ms", COMMAND, at_most(250)),
        Figure("send to pixel, two pages, 20 a second, worst", max(delays), "ms", COMMAND, at_most(1000)),
    ]


def _keys(dashboard: Dashboard, browser: Browser, room: Mailroom, options: Options, samples: Samples) -> list[Figure]:
    page = dashboard.sign_in(browser)
    page.get_by_role("button", name="Write a message").click()
    field = page.get_by_role("textbox", name="Message", exact=True)
    field.click()
    page.evaluate(WATCH_KEYS)
    text = "the quick brown fox jumps over the lazy dog " * options.pick(6, 2)
    with _sending(room, 50):
        page.keyboard.type(text, delay=30)
        page.wait_for_function("count => delays.length >= count", arg=len(text))
    if field.input_value() != text:
        raise RuntimeError("a character was lost")
    delays: list[float] = page.evaluate("() => delays")
    samples["key to character"] = delays
    _close(page)
    return [Figure("key to character, 50 events a second, p99", _p99(delays), "ms", COMMAND, at_most(50))]


def _long_list(
    dashboard: Dashboard, browser: Browser, room: Mailroom, options: Options, samples: Samples
) -> list[Figure]:
    rows = options.pick(10_000, 2_000)
    _send_many(room, (Draft("long", f"message {number}", sender="ana") for number in range(rows - 1)))
    room.send("long", "the one", sender="zoe")
    page = dashboard.sign_in(browser)
    page.evaluate("() => { location.hash = '#/m/long' }")
    page.wait_for_selector(".side .item")
    samples["scroll frame"] = frames = page.evaluate(SCROLL.replace("ROWS", str(rows)))
    nodes = page.evaluate("() => document.querySelectorAll('*').length")
    filters = samples.setdefault("filter", [])
    for _ in range(options.pick(10, 3)):
        page.evaluate("() => { window.begin = performance.now(); location.hash = '#/m/long?from=zoe' }")
        page.wait_for_function(LIST_OF_ONE, polling="raf")
        filters.append(page.evaluate("() => performance.now() - begin"))
        page.evaluate("() => { location.hash = '#/m/long' }")
        page.wait_for_function("() => document.querySelectorAll('.side .item').length > 1")
    _close(page)
    return [
        Figure(f"{rows:,} messages: scroll frame, p95", quantiles(frames, n=20)[-1], "ms", COMMAND, at_most(25)),
        Figure(f"{rows:,} messages: elements", nodes, "", COMMAND, at_most(1_500)),
        Figure(f"{rows:,} messages: filter, p50", _p50(filters), "ms", COMMAND, at_most(100)),
    ]


def _process(dashboard: Dashboard, browser: Browser, samples: Samples) -> list[Figure]:
    """Its memory and its CPU time with a full ring and five pages that look on."""
    pages = [dashboard.sign_in(browser) for _ in range(5)]
    time.sleep(3.0)
    pid = dashboard.process.pid
    begin, before = time.monotonic(), procfs.usage_of(pid).cpu_sec
    time.sleep(10.0)
    share = (procfs.usage_of(pid).cpu_sec - before) / (time.monotonic() - begin) * 100
    memory = procfs.memory_of(pid).rss_kib * 1024 / 1e6
    samples["process"] = [memory, share]
    _close(*pages)
    return [
        Figure(f"process, 5 pages, {RING_EVENTS:,} events: memory", memory, "MB", COMMAND, at_most(80)),
        Figure(f"process, 5 pages, {RING_EVENTS:,} events: one core", share, "%", COMMAND, at_most(1)),
    ]


def _long_day(
    dashboard: Dashboard, browser: Browser, room: Mailroom, options: Options, samples: Samples
) -> list[Figure]:
    """What 200,000 events leave in a tab; each message has two: itself, and its first receipt."""
    page = dashboard.sign_in(browser)
    page.evaluate("() => { location.hash = '#/feed' }")
    session: Any = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def state() -> dict[str, float]:
        session.send("HeapProfiler.collectGarbage")
        metrics = session.send("Performance.getMetrics")["metrics"]
        return {one["name"]: one["value"] for one in metrics}

    def send(count: int, name: str) -> None:
        _send_many(room, (Draft("bob", f"{name} {number}", sender="ana") for number in range(count)))
        room.send("bob", f"end of {name}")
        wanted = "text => document.querySelector('.side .item')?.textContent.includes(text)"
        page.wait_for_function(wanted, arg=f"end of {name}", timeout=300_000)

    send(options.pick(12_000, 6_000), "the morning")  # the list is at its limit
    before = state()
    send(options.pick(100_000, 10_000), "the day")
    after = state()
    names = ("JSHeapUsedSize", "Nodes", "JSEventListeners")
    samples["long day"] = [value for each in (before, after) for value in (each[name] for name in names)]
    _close(page)
    growth = (after["JSHeapUsedSize"] - before["JSHeapUsedSize"]) / 1e6
    events = f"{2 * options.pick(100_000, 10_000):,} events"
    return [
        Figure(f"{events}: growth of the heap", growth, "MB", COMMAND, at_most(5)),
        *(
            Figure(f"{events}: {label}", 100 * (after[name] / before[name] - 1), "% more", COMMAND, at_most(5))
            for name, label in (("Nodes", "nodes"), ("JSEventListeners", "listeners"))
        ),
    ]


def _silence(dashboard: Dashboard, browser: Browser, options: Options, samples: Samples) -> list[Figure]:
    """How long the page needs to notice that its connection is open and dead: the dashboard stands still."""
    page = dashboard.sign_in(browser)
    silences = samples.setdefault("silence shown", [])
    for _ in range(options.pick(3, 1)):
        page.wait_for_function(CONNECTED, polling=50)
        time.sleep(1.0)
        dashboard.process.send_signal(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            page.wait_for_function("() => !document.querySelector('.light.on')", polling=50)
            silences.append(time.monotonic() - begin)
        finally:
            dashboard.process.send_signal(signal.SIGCONT)
    page.wait_for_function(CONNECTED)
    _close(page)
    return [Figure("dashboard silent, page says so, worst", max(silences), "s", COMMAND, at_most(13))]


def _returns(
    dashboard: Dashboard, browser: Browser, socket: str, data: Path, options: Options, samples: Samples
) -> list[Figure]:
    """How long the page needs to notice that the daemon has gone, and that it is back."""
    losses, returns = samples.setdefault("loss shown", []), samples.setdefault("return shown", [])
    page: Tab | None = None
    for _ in range(options.pick(5, 2)):
        with running("daemon", "--listen", socket, data=data) as server:
            begin = time.monotonic()
            if page is None:
                page = dashboard.sign_in(browser)
            else:
                page.wait_for_function(CONNECTED, polling=50)
                returns.append(time.monotonic() - begin)
            time.sleep(1.0)
            server.process.kill()
            begin = time.monotonic()
            page.wait_for_function("() => document.querySelectorAll('.light.on').length === 1", polling=50)
            losses.append(time.monotonic() - begin)
    assert page is not None
    _close(page)
    return [
        Figure("daemon killed, page says so, worst", max(losses), "s", COMMAND, at_most(1)),
        Figure("daemon SERVING again, page says so, worst", max(returns), "s", COMMAND, at_most(3)),
    ]


@contextmanager
def _sending(room: Mailroom, per_second: int) -> Generator[None]:
    over = threading.Event()

    def send() -> None:
        while not over.wait(1 / per_second):
            room.send("bob", "meanwhile")

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _send_many(room: Mailroom, drafts: Any) -> None:
    for outcome in cast("Callable[[Any], Any]", room.send_many)(drafts):
        if outcome.error:
            raise outcome.error


def _close(*pages: Tab) -> None:
    for page in pages:
        page.context.close()


def _p50(values: list[float]) -> float:
    return quantiles(values, n=2)[0]


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[-1]
