"""Script — what a stub model does, as the conversation itself says it.

The script stands in the prompt or in the mail, as lines that begin with `@@`. The newest of them counts, and the step
follows from the request alone: it is the number of answers since. So subagents and resumed sessions follow their own.
    @@ say TEXT              answers
    @@ tool NAME {JSON}      calls a tool, whatever prefix the client gives its name
    @@ sleep SECONDS         answers late
In the arguments of a tool, $ID is the newest message id in the conversation, and $OFFSET the newest `next_offset`.
"""

__all__ = ["Call", "Say", "Turn", "next_step"]

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Turn:
    """One part of a conversation. `role`: "user" (also system and developer), "assistant" or "tool"."""

    role: str
    text: str


@dataclass(frozen=True)
class Say:
    """The model answers."""

    text: str


@dataclass(frozen=True)
class Call:
    """The model calls a tool by the name that the client knows it by."""

    name: str
    arguments: dict[str, Any]


_STEP = re.compile(r"^\s*@@ (say|tool|sleep) ?(.*)$", re.MULTILINE)


def next_step(turns: Sequence[Turn], tool_names: Sequence[str]) -> Say | Call:
    """Returns what the model does next.

    Args:
        turns: the conversation, the oldest first.
        tool_names: the tools that the request offers; without any, the client wants a title or a summary.
    """
    if not tool_names:
        return Say("Title")
    steps: list[tuple[str, str]] = []
    done = 0
    for turn in turns:
        if turn.role == "assistant":
            done += 1
        elif found := _STEP.findall(turn.text):  # some programs put what a hook says into the result of a tool
            steps, done = found, 0
    while done < len(steps) and steps[done][0] == "sleep":
        time.sleep(float(steps[done][1]))
        return Say(f"slept {steps[done][1]}")
    if done >= len(steps):
        return Say("done")
    kind, rest = steps[done]
    if kind == "say":
        return Say(rest)
    name, _, arguments = rest.partition(" ")
    matching = [known for known in tool_names if known == name or known.endswith((f"_{name}", f".{name}"))]
    matching.sort(key=lambda known: "mailroom" not in known)  # some programs have tools of these names themselves
    if not matching:
        return Say(f"there is no tool {name} among {', '.join(sorted(tool_names))}")
    return Call(matching[0], json.loads(_with_ids(arguments or "{}", turns)))


def _with_ids(arguments: str, turns: Sequence[Turn]) -> str:
    """Replaces $ID and $OFFSET by what the conversation says last."""
    said = " ".join(turn.text for turn in turns if turn.role != "assistant")
    ids = re.findall(r"\b[0-9a-f]{16}\b", said)
    offsets = re.findall(r'\\?"next_offset\\?": ?(\d+)', said)
    return arguments.replace("$ID", ids[-1] if ids else "").replace("$OFFSET", offsets[-1] if offsets else "0")
