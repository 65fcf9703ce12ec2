"""Sessions — idle sessions of the programs in a terminal, and what their models have seen."""

__all__ = ["copies", "doorbell_files", "doorbells", "idle_session", "wait_until_watched"]

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from support.agents.model_server import Request
from support.agents.programs import PROGRAMS
from support.agents.terminal import Terminal
from support.agents.workplace import RUN_BOUND_SEC, Workplace
from support.harness.waiting import wait_until


def doorbells(place: Workplace) -> list[int]:
    """Returns the processes that watch for sessions; the file of one that was killed still names it."""
    named = [int(text) for bell in doorbell_files(place) if (text := bell.read_text())]
    return [pid for pid in named if Path(f"/proc/{pid}").exists()]


def doorbell_files(place: Workplace) -> list[Path]:
    """Returns the files of all doorbells that have ever watched for sessions."""
    bells = (place.home / "state" / "mailroom-sessions").glob("*.bell")
    return [bell for bell in bells if not bell.name.startswith(".")]


@contextmanager
def idle_session(place: Workplace) -> Generator[Terminal, None, None]:
    """Starts a program in a terminal and waits until its doorbell watches; for some that is after a first prompt."""
    program = PROGRAMS[place.program]
    with Terminal(place, *program.terminal(place)) as terminal:
        terminal.wait_for(program.has_started, RUN_BOUND_SEC)
        if program.needs_prompt:
            terminal.submit("@@ say ready")
            terminal.wait_for("ready", RUN_BOUND_SEC)
        wait_until_watched(place)
        yield terminal


def wait_until_watched(place: Workplace, instead_of: int = 0) -> int:
    """Waits until another doorbell than that has its stream; returns it. The hooks that began with it have ended."""

    def find() -> int:
        bells = doorbells(place)
        return bells[0] if len(bells) == 1 and bells[0] != instead_of and place.is_present() else 0

    return wait_until(find, "a doorbell watches", RUN_BOUND_SEC, step_sec=0.1)


def copies(requests: list[Request], text: str) -> int:
    """Returns how often a text stands in the newest request that has it."""
    return max((request.text.count(text) for request in requests), default=0)
