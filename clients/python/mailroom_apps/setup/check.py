"""Check — looks at each agent program's setup: is it complete, is it there once, does its command exist.

It plans the setup again, with the name and the command that it finds: what would change is missing, or from another
version. What else a program needs is in `conditions`. It changes nothing, and names no value that is not ours.
"""

__all__ = ["Problem", "check_programs"]

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from mailroom.inbox_directory import is_mailbox_name

from mailroom_apps.setup import claude_code, claude_plugin, codex, conditions, gemini, gemini_extension, opencode, qwen
from mailroom_apps.setup.change import Change, SetupError
from mailroom_apps.setup.options import SERVER_NAME, SetupOptions


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to set a program up.

    Attributes:
        program: which.
        option: of the command line.
        plan: returns the changes.
        condition: what else it needs.
        has_own_files: it is there if the first of its files is; the others may serve another way, too.
    """

    program: str
    option: str
    plan: Callable[[SetupOptions], list[Change]]
    condition: conditions.Condition | None = None
    has_own_files: bool = False


_WAYS = (
    _Way("claude-code", "--user", claude_code.plan),
    _Way("claude-code", "--project", claude_code.plan, conditions.claude_code_in_project),
    _Way("claude-code", "--plugin", claude_plugin.plan, conditions.claude_plugin, has_own_files=True),
    _Way("codex", "--user", codex.plan, conditions.codex),
    _Way("codex", "--project", codex.plan, conditions.codex),
    _Way("gemini", "--user", gemini.plan, conditions.gemini),
    _Way("gemini", "--project", gemini.plan, conditions.gemini),
    _Way("gemini", "--extension", gemini_extension.plan, has_own_files=True),
    _Way("opencode", "--user", opencode.plan),
    _Way("opencode", "--project", opencode.plan),
    _Way("qwen", "--user", qwen.plan),
    _Way("qwen", "--project", qwen.plan),
)


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
    for program in dict.fromkeys(way.program for way in _WAYS):
        found: list[str] = []
        for way in (each for each in _WAYS if each.program == program):
            if way.option == "--project" and project in (None, _home()):
                continue
            options = SetupOptions(project or Path("/"), way.option != "--project", None, ("mailroom",))
            try:
                if old := _entries(way, options):
                    found.append(way.option)
                    given = replace(options, agent=_agent(old), command=_command(old), on_call=_is_on_call(way, old))
                    yield _check(way, given)
            except SetupError as error:
                yield Problem(program, str(error), "repair this file")
        if len(found) > 1:
            yield Problem(
                program,
                f"it is set up {len(found)} times ({', '.join(found)}): each message is shown more than once",
                f"keep one: mailroom setup {program} OPTION --remove removes another",
            )


def _check(way: _Way, options: SetupOptions) -> Problem:
    name = f" --agent {options.agent}" if options.agent else ""
    again = f"run mailroom setup {way.program} {way.option}{name}{' --on-call' if options.on_call else ''}"
    if not shutil.which(options.command[0]):
        return Problem(way.program, f"its command {options.command[0]} does not exist", again)
    changes = [change for change in way.plan(options) if change.is_needed]
    if changes:
        files = ", ".join(str(change.path) for change in changes)
        return Problem(way.program, f"entries are missing or from another version: {files}", again)
    if way.condition is not None and (unmet := way.condition(options)):
        return Problem(way.program, *unmet)
    return Problem(way.program, f"set up ({way.option[2:]}){f' as {options.agent}' if options.agent else ''}")


def _home() -> Path | None:
    """Returns the user's home directory, whose project settings are those of the user."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _entries(way: _Way, options: SetupOptions) -> list[Any]:
    """Returns our entries that are there; none if the program is not set up in this way."""
    changes = way.plan(replace(options, remove=True))
    if way.has_own_files and not changes[0].old_entries:
        return []
    return [value for change in changes for _, value in change.old_entries]


def _agent(entries: list[Any]) -> str | None:
    for value in entries:
        if isinstance(value, dict):
            fields = _server_in(cast("dict[str, Any]", value))
            name = fields.get("env", {}).get("MAILROOM_AGENT") or _option(fields.get("command"), "--agent")
        else:
            name = _plugin_value(value, "AGENT")
        if isinstance(name, str) and is_mailbox_name(name):
            return name
    return None


def _command(entries: list[Any]) -> tuple[str, ...]:
    for value in entries:
        fields = _server_in(cast("dict[str, Any]", value)) if isinstance(value, dict) else {}
        if "args" in fields:
            return (fields["command"], *fields["args"][:-1])
        if isinstance(fields.get("command"), str):
            words = shlex.split(fields["command"])
            ends = [words.index(name) for name in ("hook", "doorbell") if name in words]
            return tuple(words[: min(ends)])
        if words := _plugin_value(cast("Any", value), "COMMAND"):
            return tuple(words)
    return ("mailroom",)


def _is_on_call(way: _Way, entries: list[Any]) -> bool:
    return way.program == "gemini" and " doorbell " in json.dumps(entries)


def _server_in(entry: dict[str, Any]) -> dict[str, Any]:
    """Returns the MCP server in a file of ours; any other entry is one itself."""
    servers = entry.get("mcpServers")
    return cast("dict[str, Any]", servers[SERVER_NAME]) if isinstance(servers, dict) else entry


def _option(command: object, name: str) -> str | None:
    words = shlex.split(command) if isinstance(command, str) else []
    return words[words.index(name) + 1] if name in words[:-1] else None


def _plugin_value(lines: object, name: str) -> Any:
    """Returns a constant of opencode's plugin."""
    for line in cast("list[object]", lines) if isinstance(lines, list) else []:
        if isinstance(line, str) and line.startswith(f"const {name} = "):
            return json.loads(line.partition(" = ")[2])
    return None
