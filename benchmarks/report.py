"""report — renders results as Markdown: the tables in README.md and on two pages of docs/, and the summary of a run.

Invariant: every figure is shown with its command and its machine.
"""

__all__ = ["budgets", "main", "summary", "tables"]

import sys
from pathlib import Path

from benchmarks.catalogue import BENCHMARKS
from benchmarks.machine import Machine
from benchmarks.plot import draw
from benchmarks.results import RESULTS, Figure, Result, load_results

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "benchmarks" / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
DASHBOARD = ROOT / "docs" / "dashboard.md"
PLOT = RESULTS / "aims.svg"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
NO_RESULTS = "No results yet: run `make bench`.\n"


def summary(results: list[Result]) -> str:
    """Returns every figure with an aim as a Markdown table that says whether the aim is met."""
    rows = [
        f"| {result.name} | {_cell(figure.name)} | {_value(figure)} | {figure.aim} | {figure.verdict} |"
        for result in results
        for figure in result.figures
        if figure.aim is not None
    ]
    if not rows:
        return NO_RESULTS
    head = ["| benchmark | figure | measured | aim | |", "|---|---|---:|---:|---|"]
    return "\n".join([*head, *rows]) + "\n"


def tables(results: list[Result]) -> str:
    """Returns every figure of these results as Markdown."""
    return "\n".join(_table(result) for result in results) or NO_RESULTS


def budgets(results: list[Result]) -> str:
    """Returns what the dashboard may cost, and what it costs, as Markdown."""
    result = next((result for result in results if result.name == "dashboard"), None)
    if result is None:
        return NO_RESULTS
    rows = [
        f"| {_cell(figure.name)} | {_value(figure)} | {figure.aim} | {figure.verdict} |" for figure in result.figures
    ]
    where = f"By `{result.command}`. {_where(result.machine, result.taken_at)}"
    return "\n".join(["| figure | measured | budget | |", "|---|---:|---:|---|", *rows, "", where]) + "\n"


def _table(result: Result) -> str:
    commands = list(dict.fromkeys(figure.command for figure in result.figures))
    lines = [
        f"### {result.name}",
        *("", result.question, "", result.method, ""),
        *("| figure | value | aim | | by command |", "|---|---:|---:|---|---:|"),
        *(_row(figure, commands.index(figure.command) + 1) for figure in result.figures),
        *("", *(f"{index}. `{command}`" for index, command in enumerate(commands, start=1)), ""),
        *(f"All by `{result.command}`, {result.took_sec:.0f} s. {_where(result.machine, result.taken_at)}", ""),
    ]
    return "\n".join(lines)


def _row(figure: Figure, command_number: int) -> str:
    return f"| {_cell(figure.name)} | {_value(figure)} | {figure.aim or ''} | {figure.verdict} | {command_number} |"


def _value(figure: Figure) -> str:
    digits = 0 if abs(figure.value) >= 1000 else 2
    return f"{figure.value:,.{digits}f} {figure.unit}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _where(machine: Machine, taken_at: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in (machine.packages | machine.programs).items())
    system = f"{machine.system}, Linux {machine.kernel}, {machine.filesystem}"
    return (
        f"Measured {taken_at} at commit {machine.commit}: {machine.cpu}, {machine.cores} cores, "
        f"{machine.memory_gib:.0f} GiB, {system}, Python {machine.python}, {versions}."
    )


def _replace_figures(page: Path, text: str) -> None:
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} lacks the markers {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def main() -> None:
    """Prints the tables of the last full (--quick: quick) run; --write updates the pages and the plot instead."""
    order = list(BENCHMARKS)
    results = sorted(load_results(quick="--quick" in sys.argv[1:]), key=lambda result: order.index(result.name))
    if "--write" not in sys.argv[1:]:
        print(tables(results))
        return
    _replace_figures(README, tables(results))
    _replace_figures(PERFORMANCE, summary(results))
    _replace_figures(DASHBOARD, budgets(results))
    draw(results, PLOT)


if __name__ == "__main__":
    main()
