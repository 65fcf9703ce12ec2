"""The benchmarks' command line: runs all or some of them, writes results/NAME.json, and prints which aims are met."""

import argparse
import os
import sys
import time
from dataclasses import replace

from benchmarks.catalogue import BENCHMARKS
from benchmarks.report import summary
from benchmarks.results import RESULTS, Options, Result, save
from benchmarks.servers.process import end_in_order

BUSY_LOAD_PER_CORE = 0.25


def main() -> None:
    """Runs the requested benchmarks one after another; a failure does not stop the others."""
    arguments = _parse()
    end_in_order()
    _warn_when_busy()
    results: list[Result] = []
    failed: list[str] = []
    for name in arguments.names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        try:
            results.append(_run(name, Options(quick=arguments.quick)))
        except Exception as error:  # noqa: BLE001 - reported here and by the exit code
            print(f"  failed: {error}", file=sys.stderr, flush=True)
            failed.append(name)
    print(f"\n{summary(results)}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"benchmarks to run (default: all): {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, to check that everything works")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return arguments


def _warn_when_busy() -> None:
    load = os.getloadavg()[0]
    if load > BUSY_LOAD_PER_CORE * len(os.sched_getaffinity(0)):
        print(f"warning: the machine is busy (load average {load:.1f}); rates will be too low", file=sys.stderr)


def _run(name: str, options: Options) -> Result:
    started = time.monotonic()
    result = replace(BENCHMARKS[name](options), took_sec=round(time.monotonic() - started, 1))
    print(f"  {result.took_sec:.0f} s, written to {save(result).relative_to(RESULTS.parent.parent)}", flush=True)
    return result


if __name__ == "__main__":
    main()
