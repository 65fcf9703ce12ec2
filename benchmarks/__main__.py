"""The benchmarks' command line: runs all or some of them, prints their figures and writes results/NAME.json."""

import argparse
import os
import sys

from benchmarks import commit, hook, idle, memory, sends, startup
from benchmarks.results import RESULTS, Options, Result, save

BENCHMARKS = {
    "sends": sends.measure,
    "commit": commit.measure,
    "startup": startup.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "hook": hook.measure,
}
BUSY_LOAD_PER_CORE = 0.25


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which to run, of {', '.join(BENCHMARKS)}; default: all"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds; says whether it works")
    parser.add_argument(
        "--target", choices=("daemon", "echo"), default="daemon", help="echo: put the echo server in the daemon's place"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return arguments


def _warn_when_busy() -> None:
    load = os.getloadavg()[0]
    if load > BUSY_LOAD_PER_CORE * len(os.sched_getaffinity(0)):
        print(f"warning: something else runs here (load average {load:.1f}): rates will be too low", file=sys.stderr)


def _print(result: Result) -> None:
    print(f"\n{result.question}")
    for figure in result.figures:
        aim = f"  (aim {figure.aim})" if figure.aim else ""
        print(f"  {figure.name:<52} {figure.value:>10,.2f} {figure.unit}{aim}")


def main() -> None:
    """Runs what the command line asks for, one benchmark after another."""
    arguments = _parse()
    options = Options(quick=arguments.quick, target=arguments.target)
    _warn_when_busy()
    for name in arguments.names or BENCHMARKS:
        result = BENCHMARKS[name](options)
        _print(result)
        print(f"  written to {save(result).relative_to(RESULTS.parent.parent)}", flush=True)


if __name__ == "__main__":
    main()
