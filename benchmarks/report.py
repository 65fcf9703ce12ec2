"""report — makes the tables of figures in README.md from the results in results/.

Its invariant: no figure without its command and the machine that it was taken on.
"""

import sys
from pathlib import Path

from benchmarks.results import Figure, Machine, Result, load_results

__all__ = ["main", "tables"]

README = Path(__file__).resolve().parent / "README.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _row(figure: Figure, command_number: int) -> str:
    return f"| {_cell(figure.name)} | {figure.value:,.2f} {figure.unit} | {figure.aim} | {command_number} |"


def _figures(result: Result) -> list[str]:
    """Returns the rows of the table and, numbered, the commands that they refer to."""
    commands = list(dict.fromkeys(figure.command for figure in result.figures))
    rows = [_row(figure, commands.index(figure.command) + 1) for figure in result.figures]
    return [*rows, "", *(f"{number}. `{command}`" for number, command in enumerate(commands, start=1))]


def _where(machine: Machine, taken_at: str) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    system = f"{machine.system}, Linux {machine.kernel}, {machine.filesystem}"
    return (
        f"Taken {taken_at} at commit {machine.commit}: {machine.cpu}, {machine.cores} cores, "
        f"{machine.memory_gib:.0f} GiB, {system}, Python {machine.python}, {packages}, {machine.h2load}."
    )


def _table(result: Result) -> str:
    lines = [
        f"### {result.name}",
        *("", result.question, result.method, ""),
        *("| figure | value | aim | by command |", "|---|---:|---:|---:|", *_figures(result), ""),
        *(f"All by `{result.command}`. {_where(result.machine, result.taken_at)}", ""),
    ]
    return "\n".join(lines)


def tables(results: list[Result]) -> str:
    """Returns the tables of some results as Markdown."""
    return "\n".join(_table(result) for result in results) or "No results yet: run `make bench`.\n"


def main() -> None:
    """Prints the tables; with --write, puts them into README.md between its marks."""
    text = tables(load_results())
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    before, begin, rest = README.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{README} has lost its marks {BEGIN} and {END}")
    README.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
