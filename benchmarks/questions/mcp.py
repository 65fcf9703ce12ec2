"""mcp — how soon does an MCP client have the first answer of `mailroom mcp`, which it starts?"""

__all__ = ["measure"]

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.process import data_directory

QUESTION = "How long does it take from the start of `mailroom mcp` to its answers to `initialize` and `tools/list`?"
METHOD = (
    "Started as an agent program starts it, with both requests on stdin, one after the answer to the other. In turn "
    "with it an interpreter that does nothing, from its start to its end; medians. No daemon runs: neither answer needs"
    " one. "
    "The aim of the ratio is 300 ms on a machine whose interpreter starts in 25 ms."
)
MAILROOM = Path(sys.executable).with_name("mailroom")
COMMAND = [str(MAILROOM), "mcp", "--agent", "reviewer"]
YARDSTICK = [sys.executable, "-c", "pass"]
PARAMS = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
REQUESTS = {"initialize": PARAMS, "tools/list": {}}


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    data = data_directory()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    environment = inherited | {"HOME": str(data), "MAILROOM_ADDRESS": f"unix:{data}/none.sock"}
    contenders = (partial(_start, environment), partial(_answer, environment))
    rounds.run(options.pick(60, 10), *contenders)
    figures = [
        Figure("python -c pass", rounds.median("python"), "ms", "python -c pass"),
        *(
            Figure(name, rounds.median(name), "ms", "mailroom mcp --agent reviewer", aim)
            for name, aim in (("initialize", at_most(300)), ("tools/list", None))
        ),
        Figure(
            "initialize, of python -c pass",
            rounds.ratio("initialize", "python"),
            "×",
            "mailroom mcp --agent reviewer",
            at_most(12),
        ),
    ]
    return new_result("mcp", QUESTION, METHOD, options, figures, rounds.samples)


def _start(environment: dict[str, str], _: int) -> dict[str, float]:
    started = time.perf_counter()
    subprocess.run(YARDSTICK, env=environment, check=True)
    return {"python": (time.perf_counter() - started) * 1000}


def _answer(environment: dict[str, str], _: int) -> dict[str, float]:
    """Returns after how many milliseconds each request was answered."""
    answered: dict[str, float] = {}
    started = time.perf_counter()
    with subprocess.Popen(
        COMMAND, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for number, (method, params) in enumerate(REQUESTS.items()):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            server.stdin.write(json.dumps(request).encode() + b"\n")
            answer = json.loads(server.stdout.readline())
            if answer.get("id") != number or "result" not in answer:
                raise RuntimeError(f"{method} was not answered: {answer}")
            answered[method] = (time.perf_counter() - started) * 1000
            if method == "initialize":
                server.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        server.stdin.close()
    return answered
