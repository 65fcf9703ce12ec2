"""Runs the conformance suite: `make conformance` calls it, and ARGS goes here."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live

from conformance import scenarios as _scenarios
from conformance.clients import CLIENTS
from conformance.daemons import Daemons
from conformance.first_clients import FILES
from conformance.from_nothing import measure
from conformance.runner import FIRST_CLIENT, Column, Runner
from conformance.scenario import SCENARIOS, Scenario
from conformance.table import PAGE, as_json, columns_of, page_of, progress_of, summary_of, terminal_table, unmet_reasons

assert _scenarios  # filled SCENARIOS


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line says; returns 1 if a scenario failed or a required client is missing, otherwise 0."""
    options = _parse(arguments)
    chosen = [one for one in SCENARIOS if _is_chosen(one, options)]
    if not chosen:
        sys.exit(f"no scenario has {' or '.join(map(repr, options.only))} in its title; --list shows them")
    if options.list:
        print("\n".join(one.title for one in chosen))
        return 0
    if options.from_nothing is not None:
        measure(options.from_nothing or [*FILES])
        return 0
    if options.page:
        return _write_page(columns_of([json.loads(Path(file).read_text()) for file in options.page]))
    columns = [Column(client) for client in CLIENTS if client.name in (options.clients or [client.name])]
    interrupted = False
    try:
        _run(columns, chosen, quiet=options.json)
    except KeyboardInterrupt:  # what has been found until now is still told
        interrupted = True
    if options.json:
        print(json.dumps(as_json(columns), indent=1))
    is_whole = not (options.clients or interrupted) and len(chosen) == len(SCENARIOS)
    if is_whole and not options.json and all(column.hello for column in columns):
        _write_page(columns)
    out = sys.stderr if options.json else sys.stdout
    code = _judge(columns, options.require, out)
    if is_whole and any(column.hello for column in columns) and (unmet := unmet_reasons(columns)):
        print(f"FAILED  published reasons that no client met: {', '.join(sorted(unmet))}", file=out)
        code = 1
    return 130 if interrupted else code


def _is_chosen(scenario: Scenario, options: argparse.Namespace) -> bool:
    is_skipped = (options.quick and scenario.is_long) or any(text in scenario.title for text in options.skip)
    is_wanted = not options.only or any(text in scenario.title for text in options.only)
    return is_wanted and not is_skipped


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    names = [client.name for client in CLIENTS]
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"all by default: {', '.join(names)}")
    parser.add_argument(
        "--only",
        default=[],
        action="append",
        metavar="TEXT",
        help="scenarios with this text in their titles; repeat it",
    )
    parser.add_argument("--skip", default=[], action="append", metavar="TEXT", help="leave out those with this text")
    parser.add_argument("--quick", action="store_true", help="leave out the long scenarios")
    parser.add_argument("--list", action="store_true", help="list the scenarios, and end")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, and no table")
    parser.add_argument(
        "--from-nothing",
        nargs="*",
        choices=[*FILES],
        metavar="LANGUAGE",
        help="only say how long the commands of docs/clients.md take from an empty directory to the first message",
    )
    parser.add_argument(
        "--page",
        nargs="+",
        metavar="FILE",
        help="run nothing; write the page from files of --json; later ones win",
    )
    parser.add_argument(
        "--require",
        default=os.environ.get("REQUIRE", ""),
        metavar="CLIENT,…",
        help="fail where one of these cannot be built here (REQUIRE in the environment)",
    )
    options = parser.parse_args(arguments)
    options.require = [name for name in options.require.split(",") if name]
    for name in [*options.clients, *options.require]:
        if name not in names:
            parser.error(f"there is no client {name}; the clients are {', '.join(names)}")
    return options


def _write_page(columns: Sequence[Column]) -> int:
    PAGE.write_text(page_of(columns, [one.title for one in SCENARIOS]))
    print(f"written: {PAGE.relative_to(PAGE.parents[1])}")
    return 0


def _run(columns: list[Column], chosen: list[Scenario], *, quiet: bool) -> None:
    console = Console(stderr=quiet)
    titles = [*(one.title for one in chosen), FIRST_CLIENT]
    shows_live = console.is_terminal and not quiet
    live = Live(console=console, auto_refresh=False) if shows_live else None
    context: AbstractContextManager[object] = live or nullcontext()

    def report(column: Column) -> None:
        if live:
            live.update(terminal_table(columns, titles), refresh=True)
        elif column.results:
            console.print(progress_of(column), markup=False, highlight=False)

    daemons = Daemons()
    try:
        with context:
            runner = Runner(daemons, chosen, report)
            for column in columns:
                runner.run(column)
            runner.finish()
    finally:
        daemons.close()
    if not live and not quiet:
        Console(width=200).print(terminal_table(columns, titles))


def _judge(columns: Sequence[Column], required: Sequence[str], out: object) -> int:
    """Prints what failed and one line for each client; returns the exit code."""
    failed = False
    for column in columns:
        for title, result in column.failures.items():
            print(f"FAILED  {column.client.name}: {title}\n        {result.detail}", file=out)  # pyright: ignore
            failed = True
        print(summary_of(column), file=out)  # pyright: ignore
    missing = [column.client.name for column in columns if column.missing and column.client.name in required]
    absent = [name for name in required if name not in [column.client.name for column in columns]]
    if missing or absent:
        print(f"required, but not run: {', '.join([*missing, *absent])}", file=out)  # pyright: ignore
    return 1 if failed or missing or absent else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the run as Ctrl-C does
    sys.exit(main(sys.argv[1:]))
