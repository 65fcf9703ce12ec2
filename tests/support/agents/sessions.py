"""Sessions — idle sessions of the programs in a terminal, and what their models have seen."""

__all__ = [
    "begin_anew",
    "doorbell_files",
    "doorbells",
    "idle_session",
    "interrupt_a_call",
    "times_shown",
    "times_to_wake",
    "wait_until_watched",
    "wake",
]

import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mailroom import SentMessage
from support.agents.model_server import Request
from support.agents.programs import PROGRAMS
from support.agents.terminal import Terminal
from support.agents.workplace import RUN_BOUND_SEC, Workplace
from support.harness.waiting import pause, wait_until


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
            _say_ready(terminal)
        wait_until_watched(place)
        yield terminal


def wait_until_watched(place: Workplace, instead_of: int = 0) -> int:
    """Waits until another doorbell than that has its stream; returns it. The hooks that began with it have ended."""

    def find() -> int:
        bells = doorbells(place)
        return bells[0] if len(bells) == 1 and bells[0] != instead_of and place.is_present() else 0

    return wait_until(find, "a doorbell watches", RUN_BOUND_SEC, step_sec=0.1)


def wake(place: Workplace, text: str) -> SentMessage:
    """Sends an idle session a message, and waits until its model sees the first line of it."""
    sent_sec = time.monotonic()
    sent = place.send(text)
    request = place.models.wait_for_text(text.partition("\n")[0], RUN_BOUND_SEC)
    times_to_wake[place.program].append(request.received_sec - sent_sec)
    return sent


times_to_wake: defaultdict[str, list[float]] = defaultdict(list)  # by program, in seconds: from the send to the request


def begin_anew(place: Workplace, terminal: Terminal) -> None:
    """Clears the conversation, and waits until the doorbell of the next one watches, and no other."""
    before = wait_until_watched(place)
    terminal.submit("/clear")
    if PROGRAMS[place.program].needs_prompt:
        wait_until(lambda: "@@ say ready" not in terminal.screen(), "the conversation is gone", RUN_BOUND_SEC)
        _say_ready(terminal)
    wait_until_watched(place, instead_of=before)


def _say_ready(terminal: Terminal) -> None:
    terminal.submit("@@ say ready")
    wait_until(lambda: terminal.screen().count("ready") > 1, "the model says ready", RUN_BOUND_SEC, step_sec=0.1)


def interrupt_a_call(place: Workplace, terminal: Terminal, *, by_mail: bool = False) -> None:
    """Interrupts a session while it calls `wait_for_message`, as a prompt or a message has told it."""
    program = PROGRAMS[place.program]
    if program.reach:
        terminal.submit('@@ tool tool_search {"query": "mailroom wait_for_message"}')  # it loads five tools at once
        place.models.wait_for(
            lambda request: any("wait_for_message" in name for name in request.tool_names),
            "the model knows the tool",
            RUN_BOUND_SEC,
        )
        wait_until_watched(place)
    script = '@@ tool wait_for_message {"timeout_sec": 311}'
    if by_mail:
        place.send(script)
    else:
        terminal.submit(script)
    place.models.wait_for_text(script, RUN_BOUND_SEC)
    wait_until(lambda: _shows_a_call(terminal.screen()), "the terminal shows the call", RUN_BOUND_SEC, step_sec=0.1)
    for key in program.interrupt:
        terminal.press(key)
        pause(0.3)  # two keys at once are one of another meaning
    terminal.wait_for(program.is_interrupted, RUN_BOUND_SEC)


def _shows_a_call(screen: str) -> bool:
    lines = [line for line in screen.splitlines() if "@@" not in line]  # in these it is only asked for
    return any("wait_for_message" in line or "Calling mailroom" in line for line in lines)


def times_shown(requests: list[Request], text: str) -> int:
    """Returns how often models were newly shown a text: what stands behind the last answer in each request."""
    return sum(_newest(request).count(text) for request in requests)


def _newest(request: Request) -> str:
    answers = [index for index, turn in enumerate(request.turns) if turn.role == "assistant"]
    return "\n".join(turn.text for turn in request.turns[answers[-1] + 1 if answers else 0 :])
