"""Check — looks at each agent program's setup: is it complete, is it there once, does its command exist.

It plans the setup again, with the name and the command that it finds: what would change is missing, or from another
version. It changes nothing, and names no value that is not ours.
"""

__all__ = ["Problem", "check_programs"]

import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from mailroom.inbox_directory import is_mailbox_name

from mailroom_apps.setup import claude_code, codex, gemini, opencode, qwen
from mailroom_apps.setup.change import Change, SetupError, read_text
from mailroom_apps.setup.options import SetupOptions

Plan = Callable[[SetupOptions], list[Change]]
_PLANS: dict[str, Plan] = {
    "claude-code": claude_code.plan,
    "codex": codex.plan,
    "gemini": gemini.plan,
    "opencode": opencode.plan,
    "qwen": qwen.plan,
}
HOOKS_STATE = "hooks.state"  # in Codex's config.toml: the hooks that its user has agreed to


@dataclass(frozen=True, slots=True)
class Problem:
    """One result. `advice` is empty if all is well."""

    program: str
    summary: str
    advice: str = ""


def check_programs(project: Path | None) -> Iterator[Problem]:
    """Yields what there is to say about each program that is set up, for the user or in a project.

    Args:
        project: its directory; None if there is none.
    """
    for program, plan in _PLANS.items():
        found: list[str] = []
        for for_user in (True,) if project is None else (True, False):
            scope = "--user" if for_user else "--project"
            options = SetupOptions(project or Path("/"), for_user, None, ("mailroom",))
            try:
                if old := _entries(plan(replace(options, remove=True))):
                    found.append(scope)
                    yield _check(program, plan, replace(options, agent=_agent(old), command=_command(old)), scope)
            except SetupError as error:
                yield Problem(program, str(error), "repair this file")
        if len(found) > 1:
            yield Problem(
                program,
                "it is set up for you and for this project: each message is shown twice",
                f"remove one: mailroom setup {program} --user --remove, or --project --remove",
            )


def _check(program: str, plan: Plan, options: SetupOptions, scope: str) -> Problem:
    name = f" --agent {options.agent}" if options.agent else ""
    again = f"run mailroom setup {program} {scope}{name}"
    if not shutil.which(options.command[0]):
        return Problem(program, f"its command {options.command[0]} does not exist", again)
    changes = [change for change in plan(options) if change.is_needed]
    if changes:
        files = ", ".join(str(change.path) for change in changes)
        return Problem(program, f"entries are missing or from another version: {files}", again)
    if program == "codex" and not _has_agreed_to_hooks(plan(options)):
        summary = "nobody has agreed to its hooks yet, and `codex exec` skips them without a word"
        return Problem(program, summary, "start codex in a terminal and agree when it asks")
    return Problem(program, f"set up ({scope[2:]}){f' as {options.agent}' if options.agent else ''}")


def _entries(changes: list[Change]) -> dict[str, Any]:
    return {path: value for change in changes for path, value in change.old_entries}


def _agent(entries: dict[str, Any]) -> str | None:
    for value in entries.values():
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            name = fields.get("env", {}).get("MAILROOM_AGENT") or _option(fields.get("command"), "--agent")
        else:
            name = _plugin_value(value, "AGENT")
        if isinstance(name, str) and is_mailbox_name(name):
            return name
    return None


def _command(entries: dict[str, Any]) -> tuple[str, ...]:
    for value in entries.values():
        if isinstance(value, dict) and "args" in value:
            server = cast("dict[str, Any]", value)
            return (server["command"], *server["args"][:-1])
        if isinstance(value, dict) and "command" in value:
            words = shlex.split(cast("dict[str, Any]", value)["command"])
            ends = [words.index(name) for name in ("hook", "doorbell") if name in words]
            return tuple(words[: min(ends)])
        if words := _plugin_value(cast("Any", value), "COMMAND"):
            return tuple(words)
    return ("mailroom",)


def _option(command: object, name: str) -> str | None:
    words = shlex.split(command) if isinstance(command, str) else []
    return words[words.index(name) + 1] if name in words[:-1] else None


def _plugin_value(lines: object, name: str) -> Any:
    """Returns a constant of opencode's plugin."""
    for line in cast("list[str]", lines) if isinstance(lines, list) else []:
        if line.startswith(f"const {name} = "):
            return json.loads(line.partition(" = ")[2])
    return None


def _has_agreed_to_hooks(changes: list[Change]) -> bool:
    config, hooks = (change.path for change in changes)
    state = read_text(config) or ""
    return HOOKS_STATE in state and str(os.path.realpath(hooks)) in state
