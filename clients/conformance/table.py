"""Table — the results as a table: in the terminal while they come, as JSON, and as docs/conformance.md.

Invariant: the page is made of one run, of all clients; a mark without a footnote means what the legend says.
"""

__all__ = ["PAGE", "as_json", "columns_of", "page_of", "progress_of", "summary_of", "terminal_table", "unmet_reasons"]

import platform
from collections.abc import Sequence
from pathlib import Path

from mailroom.v1 import mailroom_pb2 as pb
from mailroomd import __version__
from rich.table import Table

from conformance.adapter import Json
from conformance.clients import CLIENTS
from conformance.runner import FIRST_CLIENT, Column, Outcome, Result
from conformance.scenarios.errors import NOT_PROVOKED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
MARKS = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.NOT_APPLICABLE: "–"}
STYLES = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.NOT_APPLICABLE: "dim"}


def terminal_table(columns: Sequence[Column], titles: Sequence[str]) -> Table:
    """Returns the table as it is now; a dot is a scenario that has not ended yet."""
    table = Table(title=f"Mailroom {__version__}: clients", title_justify="left", row_styles=["", "on grey7"])
    table.add_column("scenario", max_width=60)
    for column in columns:
        table.add_column(column.client.name, justify="center", style="dim" if column.missing else "")
    for title in titles:
        cells = [_cell(column, title) for column in columns]
        table.add_row(title, *cells)
    return table


def _cell(column: Column, title: str) -> str:
    if column.missing:
        return "[dim]skipped[/]"
    result = column.results.get(title)
    if result is None:
        return "[dim]·[/]"
    return f"[{STYLES[result.outcome]}]{MARKS[result.outcome]}[/]"


def summary_of(column: Column) -> str:
    """Returns one line on a client."""
    if column.missing:
        return f"{column.client.name}: skipped: {column.missing}"
    outcomes = [result.outcome for result in column.results.values()]
    seconds = sum(result.seconds for result in column.results.values())
    counts = ", ".join(f"{outcomes.count(one)} {one}" for one in Outcome if one in outcomes)
    return f"{column.client.name} ({_version(column)}): {counts} in {seconds:.0f} s"


def progress_of(column: Column) -> str:
    """Returns one line on the scenario that has just ended."""
    title, result = list(column.results.items())[-1]
    return f"{column.client.name}: {MARKS[result.outcome]} {title} ({result.seconds:.1f} s)"


def as_json(columns: Sequence[Column]) -> Json:
    """Returns the results as JSON."""
    return {
        "mailroom": __version__,
        "system": f"{platform.system()} {platform.release()}",
        "clients": [
            {
                "name": column.client.name,
                "skipped": column.missing,
                **column.hello,
                "reasons": sorted(column.reasons),
                "results": {
                    title: {"outcome": str(one.outcome), "seconds": round(one.seconds, 2), "detail": one.detail}
                    for title, one in column.results.items()
                },
            }
            for column in columns
        ],
    }


def columns_of(runs: Sequence[Json]) -> list[Column]:
    """Returns the columns of what `as_json` wrote, in the order of the clients; of two results the later one counts."""
    columns = {client.name: Column(client) for client in CLIENTS}
    for one in (one for run in runs for one in run["clients"] if not one["skipped"]):
        column = columns[one["name"]]
        column.hello = {key: one[key] for key in ("library", "version", "runtime", "kind", "date")}
        column.reasons |= set(one["reasons"])
        for title, result in one["results"].items():
            column.results[title] = Result(Outcome(result["outcome"]), result["seconds"], result["detail"])
    return [column for column in columns.values() if column.hello]


def page_of(columns: Sequence[Column], titles: Sequence[str]) -> str:
    """Returns docs/conformance.md.

    Args:
        columns: the results, one for each client.
        titles: the scenarios, in their order.
    """
    notes: list[str] = []
    rows = [f"| scenario | {' | '.join(column.client.title for column in columns)} |"]
    rows.append(f"|---|{'---|' * len(columns)}")
    rows.append(f"| *date* | {' | '.join(str(column.hello.get('date', '')) for column in columns)} |")
    rows.append(f"| *version* | {' | '.join(_version(column) or 'not run' for column in columns)} |")
    for title in [*titles, FIRST_CLIENT]:  # in the order of the scenarios
        rows.append(f"| {title} | {' | '.join(_page_cell(column, title, notes) for column in columns)} |")
    footnotes = "".join(f"{number}. {note}\n" for number, note in enumerate(notes, 1))
    head = (
        "<!-- Written by `make conformance`; do not edit. -->",
        "# Conformance\n",
        f"What each client library and SDK did with mailroomd {__version__}, on {_system()}.",
        "[Writing a client](clients.md) has the rules that the scenarios try;",
        "[clients/conformance](../clients/conformance/README.md) says how to run them and how to add a client.\n",
        "✓ passed; ✗ failed, see the note; – does not apply: the SDK does this itself, or the library cannot;",
        "· not run.\n",
    )
    return "\n".join((*head, *rows, "", footnotes + _page_reasons(columns)))


def unmet_reasons(columns: Sequence[Column]) -> set[str]:
    """Returns the published reasons that no client told, although a scenario provokes them."""
    met = {reason for column in columns for reason in column.reasons}
    return (
        {name.removeprefix("ERROR_REASON_") for name, number in pb.ErrorReason.items() if number}
        - met
        - NOT_PROVOKED.keys()
    )


def _page_reasons(columns: Sequence[Column]) -> str:
    excused = "; ".join(f"`{reason}`: {why}" for reason, why in NOT_PROVOKED.items())
    unmet = ", ".join(f"`{one}`" for one in sorted(unmet_reasons(columns)))
    also = f" These were not met: {unmet}." if unmet else ""
    return f"The scenarios provoke every reason of [errors.md](errors.md), except {excused}.{also}\n"


def _page_cell(column: Column, title: str, notes: list[str]) -> str:
    result = column.results.get(title)
    if result is None:
        return "–" if title == FIRST_CLIENT and column.client.first is None else "·"
    if result.outcome is not Outcome.FAILED:
        return MARKS[result.outcome]
    notes.append(f"{column.client.title}, {title}: {' '.join(result.detail.split())[:300]}")
    return f"✗ {len(notes)}"


def _version(column: Column) -> str:
    return f"{column.hello['library']} {column.hello['version']}, {column.hello['runtime']}" if column.hello else ""


def _system() -> str:
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{release}, {platform.machine()}"
