"""`mailroom top` — workers, queues, rates and the busiest mailboxes: live, or one snapshot in a pipe or with --json."""

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
from mailroom_apps.overview import Overview, Sample, compute_overview
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

TIMEOUT_SEC = 5.0


def top(
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="The time between two updates.")] = 2.0,
    json: Json = False,
    address: Address = None,
) -> None:
    """Show workers, queues, rates and the busiest mailboxes: live in a terminal, otherwise one snapshot."""
    with connect(address) as client:
        before = _sample(client)
        if json or not sys.stdout.isatty():
            time.sleep(every)
            overview = compute_overview(before, _sample(client))
            emit_json(overview.to_dict()) if json else emit(render_overview(overview))
            return
        _show_live(client, before, every)


def _sample(client: "Mailroom") -> Sample:
    return Sample(
        time.monotonic(),
        client.health(timeout=TIMEOUT_SEC).value,
        client.status(timeout=TIMEOUT_SEC),
        client.metrics(timeout=TIMEOUT_SEC),
        client.stats(timeout=TIMEOUT_SEC),
    )


def _show_live(client: "Mailroom", before: Sample, every: float) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(Text("collecting …"), screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                try:
                    now = _sample(client)
                except MailroomError as error:  # the daemon may come back
                    live.update(Text(f"no answer: {printable_line(error.message)}\n\nCtrl-C to quit"), refresh=True)
                    continue
                text = render_overview(compute_overview(before, now))
                live.update(Text(f"{text}\n\nCtrl-C to quit"), refresh=True)
                before = now
        except KeyboardInterrupt:
            return


def render_overview(overview: Overview) -> str:
    """Returns an overview as plain lines."""
    return "\n".join([*_daemon_lines(overview), *_activity_lines(overview), *_mailbox_lines(overview)])


def _daemon_lines(overview: Overview) -> Iterator[str]:
    health = overview.health.replace("_", " ")
    yield f"mailroomd {printable_line(overview.version)}  {health}  over {overview.seconds:.1f} s"
    yield ""
    yield f"{'WORKER':<16}{'STATE':<12}{'PID':>8}{'RESTARTS':>10}  LAST EXIT"
    for worker in overview.workers:
        last_exit = printable_line(worker.last_exit) or "-"
        yield f"{worker.name:<16}{worker.state:<12}{worker.pid:>8}{worker.restarts:>10}  {last_exit}"


def _activity_lines(overview: Overview) -> Iterator[str]:
    yield ""
    yield "PER SECOND    " + "  ".join(f"{name} {rate:,.1f}" for name, rate in overview.per_second.items())
    latencies = (f"{name} {_format_percentiles(pair)}" for name, pair in overview.milliseconds.items())
    yield "MS P50/P99    " + "  ".join(latencies)
    yield "WAITING       " + "  ".join(f"{name} {count:,}" for name, count in overview.queues.items())
    if overview.refusals:
        yield "REFUSED       " + "  ".join(f"{reason} {count:,}" for reason, count in overview.refusals.items())
    yield _space_line(overview.gauges)


def _mailbox_lines(overview: Overview) -> Iterator[str]:
    if overview.mailboxes:
        yield ""
        yield f"{'MAILBOX':<32}{'RECEIVED':>10}{'UNREAD':>10}{'OLDEST':>10}{'STREAMS':>9}"
    for box in overview.mailboxes:
        age = format_age(box.oldest_unread_age_sec) if box.unread else "-"
        yield f"{printable_line(box.agent_id):<32}{box.received:>10,}{box.unread:>10,}{age:>10}{box.subscribers:>9,}"


def _format_percentiles(pair: tuple[float, float] | None) -> str:
    return "-" if pair is None else f"{pair[0]:g}/{pair[1]:g}"


def _space_line(gauges: Mapping[str, int]) -> str:
    limit = gauges.get("database_bytes_max", 0)
    of_limit = f" of {limit / 1e6:,.0f}" if limit else ""
    return (
        f"SPACE         database {gauges.get('database_bytes_used', 0) / 1e6:,.1f}{of_limit} MB"
        f"  disk {gauges.get('disk_free_bytes_state', 0) / 1e9:,.1f} GB free"
        f"  table {_used_share(gauges, 'table_ring_bytes')}  mailboxes {_used_share(gauges, 'table_mailboxes')}"
        f"  subscribers {gauges.get('subscribers', 0):,}"
    )


def _used_share(gauges: Mapping[str, int], name: str) -> str:
    return f"{gauges.get(f'{name}_used', 0) / max(1, gauges.get(f'{name}_size', 0)):.1%}"
