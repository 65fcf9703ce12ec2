"""`mailroom top` — live: workers, queues, rates and the busiest mailboxes; one snapshot in a pipe or with --json."""

__all__ = ["top"]

import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.errors import MailroomError

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import format_age
from mailroom_apps.cli.options import Address, Json
from mailroom_apps.cli.output import emit, emit_json
from mailroom_apps.cli.overview import Look, Overview, overview_of
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

TIMEOUT_SEC = 5.0


def top(
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look.")] = 2.0,
    json: Json = False,
    address: Address = None,
) -> None:
    """Shows workers, queues, rates and the busiest mailboxes; live in a terminal, else one snapshot."""
    with connect(address) as client:
        before = _look(client)
        if json or not sys.stdout.isatty():
            time.sleep(every)
            snapshot = overview_of(before, _look(client))
            emit_json(snapshot.to_dict()) if json else emit(text_of(snapshot))
            return
        _live(client, before, every)


def _look(client: "Mailroom") -> Look:
    return Look(
        time.monotonic(),
        client.health(timeout=TIMEOUT_SEC).value,
        client.status(timeout=TIMEOUT_SEC),
        client.metrics(timeout=TIMEOUT_SEC),
        client.stats(timeout=TIMEOUT_SEC),
    )


def _live(client: "Mailroom", before: Look, every: float) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(Text("looking …"), screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                try:
                    now = _look(client)
                except MailroomError as error:  # it may come back
                    live.update(Text(f"no answer: {printable_line(error.message)}\n\nCtrl-C ends"), refresh=True)
                    continue
                live.update(Text(f"{text_of(overview_of(before, now))}\n\nCtrl-C ends"), refresh=True)
                before = now
        except KeyboardInterrupt:
            return


def text_of(overview: Overview) -> str:
    """Returns a snapshot as plain lines."""
    return "\n".join(_lines(overview))


def _lines(overview: Overview) -> Iterator[str]:
    health = overview.health.replace("_", " ")
    yield f"mailroomd {printable_line(overview.version)}  {health}  over {overview.seconds:.1f} s"
    yield ""
    yield f"{'WORKER':<16}{'STATE':<12}{'PID':>8}{'RESTARTS':>10}  LAST EXIT"
    for worker in overview.workers:
        last_exit = printable_line(worker.last_exit) or "-"
        yield f"{worker.name:<16}{worker.state:<12}{worker.pid:>8}{worker.restarts:>10}  {last_exit}"
    yield ""
    yield "PER SECOND    " + "  ".join(f"{name} {rate:,.1f}" for name, rate in overview.per_second.items())
    times = (f"{name} {_span(span)}" for name, span in overview.milliseconds.items())
    yield "MS P50/P99    " + "  ".join(times)
    yield "WAITING       " + "  ".join(f"{name} {count:,}" for name, count in overview.queues.items())
    if overview.refusals:
        yield "REFUSED       " + "  ".join(f"{reason} {count:,}" for reason, count in overview.refusals.items())
    yield from _room(overview.gauges)
    if overview.mailboxes:
        yield ""
        yield f"{'MAILBOX':<32}{'CAME IN':>10}{'UNREAD':>10}{'OLDEST':>10}{'STREAMS':>9}"
    for one in overview.mailboxes:
        age = format_age(one.oldest_unread_age_sec) if one.unread else "-"
        yield f"{printable_line(one.agent_id):<32}{one.received:>10,}{one.unread:>10,}{age:>10}{one.subscribers:>9,}"


def _span(span: tuple[float, float] | None) -> str:
    return "-" if span is None else f"{span[0]:g}/{span[1]:g}"


def _room(figures: Mapping[str, int]) -> Iterator[str]:
    limit = figures.get("database_bytes_max", 0)
    of = f" of {limit / 1e6:,.0f}" if limit else ""
    yield (
        f"ROOM          database {figures.get('database_bytes_used', 0) / 1e6:,.1f}{of} MB"
        f"  disk {figures.get('disk_free_bytes_state', 0) / 1e9:,.1f} GB free"
        f"  table {_share(figures, 'table_ring_bytes')}  mailboxes {_share(figures, 'table_mailboxes')}"
        f"  subscribers {figures.get('subscribers', 0):,}"
    )


def _share(figures: Mapping[str, int], name: str) -> str:
    return f"{figures.get(f'{name}_used', 0) / max(1, figures.get(f'{name}_size', 0)):.1%}"
