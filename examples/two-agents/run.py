"""Runs the scene: a daemon in a temporary directory, two agents that talk over MCP, and one that is woken."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
AGENTS = ("porter", "builder", "planner")
TIMEOUT_SEC = 90.0


def main() -> int:
    """Runs the scene; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="mr-example-") as directory, ExitStack() as stack:
        environment = _environment(Path(directory))
        stack.callback(_stop, _start_daemon(Path(directory), environment))
        agents = {name: subprocess.Popen([sys.executable, HERE / f"{name}.py"], env=environment) for name in AGENTS}
        for agent in agents.values():
            stack.callback(agent.kill)
        deadline = time.monotonic() + TIMEOUT_SEC
        failed = [name for name, agent in agents.items() if not _succeeds(agent, deadline)]
    print(f"RESULT: {', '.join(failed)} failed" if failed else "RESULT: ok")
    return 1 if failed else 0


def _environment(directory: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    return kept | {
        "HOME": str(directory),
        "MAILROOM_ROOT": str(directory / "root"),
        "MAILROOM_ADDRESS": f"unix:{directory}/s.sock",
    }


def _start_daemon(directory: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    command = [Path(sys.executable).with_name("mailroomd"), "--listen", environment["MAILROOM_ADDRESS"]]
    with (directory / "log").open("w") as log:
        daemon = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert daemon.stdout is not None
    if " is ready: " not in daemon.stdout.readline():
        raise SystemExit(f"the daemon did not start:\n{(directory / 'log').read_text()}")
    return daemon


def _stop(daemon: "subprocess.Popen[str]") -> None:
    daemon.terminate()
    daemon.communicate()


def _succeeds(agent: "subprocess.Popen[bytes]", deadline: float) -> bool:
    try:
        return agent.wait(max(0.0, deadline - time.monotonic())) == 0
    except subprocess.TimeoutExpired:
        agent.kill()
        return False


if __name__ == "__main__":
    sys.exit(main())
