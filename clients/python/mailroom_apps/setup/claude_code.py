"""Claude Code's settings — where they are, and which of their entries are ours.

Source of the formats: Claude Code's documentation. Hooks: `.claude/settings.json` in a project, `settings.json` in
`~/.claude` for a user, `{"hooks": {EVENT: [{"matcher": …, "hooks": [{"type": "command", …}]}]}}`. MCP servers:
`.mcp.json` in a project, `~/.claude.json` for a user, `{"mcpServers": {NAME: {"command", "args", "env"}}}`.
CLAUDE_CONFIG_DIR moves a user's files. The doorbell hangs on Stop alone: some versions do not start a session before a
hook on SessionStart has ended, whatever it says of itself.
"""

__all__ = ["Wish", "plan"]

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mailroom.addresses import expand_home

from mailroom_apps.setup.change import Change, SetupError, read_text
from mailroom_apps.setup.json_text import JsonError, JsonText, Key
from mailroom_apps.setup.program import is_ours

EVENTS = ("SessionStart", "UserPromptSubmit", "PostToolUse", "Stop")
HOOK_TIMEOUT_SEC = 10  # it takes 0.05 s, or 0.4 s when it has mail
DOORBELL_TIMEOUT_SEC = 604_800  # a week; the default of ten minutes would end it while the session still waits
SERVER = "mailroom"
DEPTH_OF_HANDLERS = 4  # hooks, EVENT, number of the group, hooks


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be set up.

    Attributes:
        directory: the project's.
        for_user: for all of a user's projects instead.
        agent: the agent's name; None: the session's id.
        command: how to start this program, word by word.
        remove: take everything of ours away instead.
    """

    directory: Path
    for_user: bool
    agent: str | None
    command: tuple[str, ...]
    remove: bool = False

    def server(self) -> dict[str, Any]:
        """Returns the entry of the MCP server, which programs agree on."""
        program, *arguments = self.command
        entry: dict[str, Any] = {"command": program, "args": [*arguments, "mcp"]}
        return entry | ({"env": {"MAILROOM_AGENT": self.agent}} if self.agent else {})


def plan(wish: Wish) -> list[Change]:
    """Returns what is to change: the servers' file and the hooks' file.

    Raises:
        SetupError: a file is not understood.
    """
    servers, hooks = _files(wish)
    return [_planned(servers, wish, _with_server), _planned(hooks, wish, _with_hooks)]


def _files(wish: Wish) -> tuple[Path, Path]:
    if not wish.for_user:
        return wish.directory / ".mcp.json", wish.directory / ".claude" / "settings.json"
    if moved := os.environ.get("CLAUDE_CONFIG_DIR"):
        return Path(moved) / ".claude.json", Path(moved) / "settings.json"
    return expand_home("~/.claude.json"), expand_home("~/.claude/settings.json")


def _planned(path: Path, wish: Wish, edit: Callable[[JsonText, Wish, Path], JsonText]) -> Change:
    before = read_text(path)
    if before is None and wish.remove:
        return Change(path, None, None)
    try:
        document = JsonText(before if before and before.strip() else "{}\n")
    except JsonError as error:
        raise SetupError(f"{path} is no JSON ({error}): it is untouched, mend it first") from error
    if not isinstance(document.value, dict):
        raise SetupError(f"{path} holds no JSON object: it is untouched, mend it first")
    after = edit(document, wish, path)
    if wish.remove and before and after.text != before and after.text.strip() == "{}":
        return Change(path, before, None)  # there was nothing in it but ours
    return Change(path, before, after.text if before is not None or after.value else None)


def _with_server(document: JsonText, wish: Wish, path: Path) -> JsonText:
    entry = wish.server()
    found = document.get("mcpServers", SERVER)
    if found is not None and not _is_our_server(found):
        if wish.remove:
            return document
        raise SetupError(f"{path} has a server {SERVER!r} that is not ours: it is untouched, rename that first")
    if wish.remove:
        return document if found is None else _without(document, ("mcpServers", SERVER))
    if found == entry:
        return document
    if found is not None:
        document = document.removed(("mcpServers", SERVER))
    return _put(document, ("mcpServers",), SERVER, entry, path)


def _is_our_server(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    server = cast("dict[str, Any]", entry)
    return is_ours([str(server.get("command")), *map(str, _listed(server.get("args")))], "mcp")


def _with_hooks(document: JsonText, wish: Wish, path: Path) -> JsonText:
    for event in EVENTS:
        wanted = [] if wish.remove else _groups(event, wish)
        found = list(_our_handlers(document, event))
        if [handler for _, handler in found] == [handler for group in wanted for handler in group["hooks"]]:
            continue
        for place, _ in reversed(found):
            document = _without(document, place)
        for group in wanted:
            document = _put(document, ("hooks", event), None, group, path)
    return document


def _groups(event: str, wish: Wish) -> list[dict[str, Any]]:
    names = ("--agent", wish.agent) if wish.agent else ()
    line = shlex.join((*wish.command, "hook", *names))
    groups: list[dict[str, Any]] = [{"hooks": [{"type": "command", "command": line, "timeout": HOOK_TIMEOUT_SEC}]}]
    if event == "Stop":
        line = shlex.join((*wish.command, "doorbell", *names))
        doorbell = {"type": "command", "command": line, "asyncRewake": True, "timeout": DOORBELL_TIMEOUT_SEC}
        groups.append({"hooks": [doorbell]})
    return groups


def _our_handlers(document: JsonText, event: str) -> "list[tuple[tuple[Key, ...], Any]]":
    """Returns our handlers of an event: where each is, and what it is."""
    found: list[tuple[tuple[Key, ...], Any]] = []
    for group_index, group in enumerate(_listed(document.get("hooks", event))):
        handlers = _listed(cast("dict[str, Any]", group).get("hooks")) if isinstance(group, dict) else []
        for index, handler in enumerate(handlers):
            command = _command_of(handler)
            if command and is_ours(command, "hook", "doorbell"):
                found.append((("hooks", event, group_index, "hooks", index), handler))
    return found


def _command_of(handler: object) -> str:
    command = cast("dict[str, Any]", handler).get("command") if isinstance(handler, dict) else None
    return command if isinstance(command, str) else ""


def _listed(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _without(document: JsonText, path: tuple[Key, ...]) -> JsonText:
    """Returns the document without an entry, and without what would be empty then: its group, event, object.

    A group without handlers means nothing, whatever else is in it.
    """
    depth = len(path)
    while depth > 1 and (depth == DEPTH_OF_HANDLERS or len(document.get(*path[: depth - 1])) == 1):
        depth -= 1
    return document.removed(path[:depth])


def _put(document: JsonText, path: tuple[str, ...], key: str | None, value: object, path_of_file: Path) -> JsonText:
    """Returns the document with a new entry, and the objects on the way to it."""
    for depth, name in enumerate(path):
        last = depth == len(path) - 1
        wanted: object = [] if last and key is None else {}
        found = document.get(*path[: depth + 1])
        if found is None:
            document = document.added(path[:depth], name, wanted)
        elif not isinstance(found, type(wanted)):
            raise SetupError(f"{path_of_file}: {'.'.join(path[: depth + 1])} is not what it should be: it is untouched")
    return document.added(path, key, value)
