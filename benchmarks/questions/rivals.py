"""rivals — how does a local agent mailbox from PyPI compare at the same job?"""

__all__ = ["measure"]

import json

from benchmarks.clients import h2load
from benchmarks.clients.deaddrop import measure_notices
from benchmarks.clients.pushes import PushJob, measure_pushes
from benchmarks.results import Figure, Options, Result, at_least, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running
from benchmarks.servers.deaddrop import Deaddrop, running_deaddrop

QUESTION = (
    "How many sends per second, and how long until a subscriber knows, compared with the server of PyPI's deaddrop?"
)
METHOD = (
    "h2load with 4 connections and one request at a time on each: HTTP/1.1 for deaddrop, gRPC for the daemon. With "
    "more connections deaddrop is no faster and returns errors (a run with an error is repeated). Push is the time "
    "from the start of a send until the subscriber knows: with deaddrop an SSE notice, without the message, which "
    "takes another request; with the daemon the message itself. deaddrop runs on a database file (DEADROP_DB) in WAL "
    "mode with SQLite's default synchronous setting, and writes no inbox files. PyPI's agent-inbox needs Python 3.14, "
    "and is left out on older versions."
)
CONNECTIONS = 4
ATTEMPTS = 3


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    requests, pushes = options.pick(3_000, 600), options.pick(500, 100)
    with running("daemon") as daemon, running_deaddrop() as deaddrop:
        rounds.run(
            options.rounds,
            lambda _: _send_to_deaddrop(deaddrop, requests),
            lambda round_number: _send_to_daemon(daemon, round_number, requests),
            lambda _: {"deaddrop push": measure_notices(deaddrop, pushes).p50_ms},
            lambda round_number: {
                "push": measure_pushes(PushJob(daemon.address, f"push-{round_number}", pushes)).p50_ms
            },
        )
    load = "h2load -n REQUESTS -c 4 -m 1 …"
    push = "python -m benchmarks.clients.pushes '{…}'"
    figures = [
        Figure("deaddrop, sends", rounds.median("deaddrop sends"), "/s", load),
        Figure("Mailroom, sends", rounds.median("sends"), "/s", load),
        Figure("sends, vs. deaddrop", rounds.ratio("sends", "deaddrop sends"), "×", load, at_least(5)),
        Figure("deaddrop, push, p50", rounds.median("deaddrop push"), "ms", push),
        Figure("Mailroom, push, p50", rounds.median("push"), "ms", push),
        Figure("push, vs. deaddrop", rounds.ratio("push", "deaddrop push"), "×", push, at_most(0.4)),
    ]
    return new_result("rivals", QUESTION, METHOD, options, figures, rounds.samples)


def _send_to_deaddrop(server: Deaddrop, requests: int, attempts: int = ATTEMPTS) -> dict[str, float]:
    url, headers, body = server.send_request()
    lines = [f"{name}: {value}" for name, value in headers.items()]
    try:
        done = h2load.post(url, json.dumps(body).encode(), lines, requests, CONNECTIONS)
    except RuntimeError:
        if attempts == 1:
            raise
        return _send_to_deaddrop(server, requests, attempts - 1)
    return {"deaddrop sends": done.rate_per_sec}


def _send_to_daemon(server: Server, round_number: int, requests: int) -> dict[str, float]:
    return {"sends": h2load.send(server.address, f"sends-{round_number}", requests, CONNECTIONS, 1).rate_per_sec}
