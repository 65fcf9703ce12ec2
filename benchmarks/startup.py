"""startup — how long from starting the process until a send would work?"""

import statistics
import sys

from benchmarks.daemon import Target, running, start_command
from benchmarks.results import Figure, Options, Result, new_result

__all__ = ["measure"]

QUESTION = "How long does the daemon take from the start of its process until its health service says SERVING?"
METHOD = (
    "Started on empty directories, after one uncounted start of each. The clock runs from before the process is made "
    "until a client that connects after the line `is ready` has read SERVING. Medians; the echo server, started in "
    "turn with it, is what Python, grpc and the client cost by themselves."
)
ROUNDS, ROUNDS_QUICK = 5, 3


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    samples: dict[str, list[float]] = {"echo": [], "daemon": []}
    targets: dict[str, Target] = {"echo": "echo", "daemon": options.target}
    for target in targets.values():
        _start(target)
    for _ in range(ROUNDS_QUICK if options.quick else ROUNDS):
        for name, target in targets.items():
            samples[name].append(_start(target))
    figures = [
        Figure(f"{name}, start until SERVING", statistics.median(samples[name]), "s", _command(target), aim)
        for (name, target), aim in zip(targets.items(), ("", "≤ 1"), strict=True)
    ]
    return new_result("startup", QUESTION, METHOD, options, figures, samples)


def _start(target: Target) -> float:
    with running(target) as server:
        return server.serving_after_sec


def _command(target: Target) -> str:
    return " ".join(start_command(target)).replace(sys.executable, "python")
