"""Claude Code's settings — where they are, and which of their entries are ours.

Source of the formats: Claude Code's documentation. Hooks: `.claude/settings.json` in a project, `settings.json` in
`~/.claude` for a user, `{"hooks": {EVENT: [{"matcher": …, "hooks": [{"type": "command", …}]}]}}`. MCP servers:
`.mcp.json` in a project, `~/.claude.json` for a user, `{"mcpServers": {NAME: {"command", "args", "env"}}}`.
CLAUDE_CONFIG_DIR moves a user's files. The doorbell is a hook of Stop only: some versions do not start a session before
its SessionStart hooks have ended, even those that declare themselves asynchronous.
"""

__all__ = ["plan"]

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from mailroom.inbox_directory import NoHomeDirectoryError, claude_directory

from mailroom_apps.setup.change import Change, Entries, SetupError, read_text
from mailroom_apps.setup.json_text import JsonError, JsonText, Key
from mailroom_apps.setup.options import SERVER_NAME, SetupOptions
from mailroom_apps.setup.program import is_our_server, is_ours

EVENTS = ("SessionStart", "UserPromptSubmit", "PostToolUse", "Stop")
HOOK_TIMEOUT_SEC = 10  # a hook takes 0.05 s, or 0.4 s with mail
DOORBELL_TIMEOUT_SEC = 604_800  # a week; the default of ten minutes would end it while the session still waits
HANDLER_LIST_DEPTH = 4  # hooks, EVENT, index of the group, hooks


def plan(options: SetupOptions) -> list[Change]:
    """Returns the changes: of the file with MCP servers and of the file with hooks.

    Raises:
        SetupError: a file cannot be parsed, or has another structure.
    """
    servers, hooks = _files(options)
    return [
        _plan_file(servers, options, _with_server, _server_entries),
        _plan_file(hooks, options, _with_hooks, _hook_entries),
    ]


def _files(options: SetupOptions) -> tuple[Path, Path]:
    if not options.for_user:
        return options.directory / ".mcp.json", options.directory / ".claude" / "settings.json"
    try:
        directory = Path(claude_directory())
    except NoHomeDirectoryError as error:
        raise SetupError(str(error)) from error
    servers = directory if os.environ.get("CLAUDE_CONFIG_DIR") else directory.parent
    return servers / ".claude.json", directory / "settings.json"


def _plan_file(
    path: Path,
    options: SetupOptions,
    edit: Callable[[JsonText, SetupOptions, Path], JsonText],
    entries_in: Callable[[JsonText], Entries],
) -> Change:
    before = read_text(path)
    if before is None and options.remove:
        return Change(path, None, None)
    try:
        document = JsonText(before if before and before.strip() else "{}\n")
        if not isinstance(document.value, dict):
            raise SetupError(f"{path} was not changed: it is not a JSON object")
        after = edit(document, options, path)
    except JsonError as error:
        raise SetupError(f"{path} was not changed: {error}") from error
    is_empty = options.remove and before and after.text != before and after.text.strip() == "{}"
    text = None if is_empty or (before is None and not after.value) else after.text
    return Change(path, before, text, entries_in(document), entries_in(after))


def _server_entries(document: JsonText) -> Entries:
    entry = document.get("mcpServers", SERVER_NAME)
    return [(f"mcpServers.{SERVER_NAME}", entry)] if is_our_server(entry) else []


def _hook_entries(document: JsonText) -> Entries:
    return [(f"hooks.{event}", handler) for event in EVENTS for _, handler in _our_handlers(document, event)]


def _with_server(document: JsonText, options: SetupOptions, path: Path) -> JsonText:
    entry = options.server_entry()
    current = document.get("mcpServers", SERVER_NAME)
    if current is not None and not is_our_server(current):
        if options.remove:
            return document
        raise SetupError(
            f"{path} was not changed: its server {SERVER_NAME!r} belongs to another program; rename that server first"
        )
    if options.remove:
        return document if current is None else _without(document, ("mcpServers", SERVER_NAME))
    if current == entry:
        return document
    if current is not None:
        document = document.removed(("mcpServers", SERVER_NAME))
    return _put(document, ("mcpServers",), SERVER_NAME, entry, path)


def _with_hooks(document: JsonText, options: SetupOptions, path: Path) -> JsonText:
    for event in EVENTS:
        groups = [] if options.remove else _groups(event, options)
        current = _our_handlers(document, event)
        if [handler for _, handler in current] == [handler for group in groups for handler in group["hooks"]]:
            continue
        for handler_path, _ in reversed(current):
            document = _without(document, handler_path)
        for group in groups:
            document = _put(document, ("hooks", event), None, group, path)
    return document


def _groups(event: str, options: SetupOptions) -> list[dict[str, Any]]:
    names = ("--agent", options.agent) if options.agent else ()
    line = shlex.join((*options.command, "hook", *names))
    groups: list[dict[str, Any]] = [{"hooks": [{"type": "command", "command": line, "timeout": HOOK_TIMEOUT_SEC}]}]
    if event == "Stop":
        line = shlex.join((*options.command, "doorbell", *names))
        doorbell = {"type": "command", "command": line, "asyncRewake": True, "timeout": DOORBELL_TIMEOUT_SEC}
        groups.append({"hooks": [doorbell]})
    return groups


def _our_handlers(document: JsonText, event: str) -> "list[tuple[tuple[Key, ...], Any]]":
    """Returns our handlers of an event, each with its path."""
    handlers_found: list[tuple[tuple[Key, ...], Any]] = []
    for group_index, group in enumerate(_as_list(document.get("hooks", event))):
        handlers = _as_list(cast("dict[str, Any]", group).get("hooks")) if isinstance(group, dict) else []
        for index, handler in enumerate(handlers):
            command = _command_of(handler)
            if command and is_ours(command, "hook", "doorbell"):
                handlers_found.append((("hooks", event, group_index, "hooks", index), handler))
    return handlers_found


def _command_of(handler: object) -> str:
    command = cast("dict[str, Any]", handler).get("command") if isinstance(handler, dict) else None
    return command if isinstance(command, str) else ""


def _as_list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _without(document: JsonText, path: tuple[Key, ...]) -> JsonText:
    """Returns the document without an entry, and without the group, event and object that would be empty then.

    A group without handlers has no effect, whatever other keys it has.
    """
    depth = len(path)
    while depth > 1 and (depth == HANDLER_LIST_DEPTH or len(document.get(*path[: depth - 1])) == 1):
        depth -= 1
    return document.removed(path[:depth])


def _put(document: JsonText, path: tuple[str, ...], key: str | None, value: object, file: Path) -> JsonText:
    """Returns the document with a new entry, and with the objects on the path to it."""
    for depth, name in enumerate(path):
        is_last = depth == len(path) - 1
        empty: object = [] if is_last and key is None else {}
        current = document.get(*path[: depth + 1])
        if current is None:
            document = _without_null(document, path[: depth + 1]).added(path[:depth], name, empty)
        elif not isinstance(current, type(empty)):
            kind = "array" if isinstance(empty, list) else "object"
            raise SetupError(f"{file} was not changed: {'.'.join(path[: depth + 1])} is not a JSON {kind}")
    if key is not None:
        document = _without_null(document, (*path, key))
    return document.added(path, key, value)


def _without_null(document: JsonText, path: tuple[Key, ...]) -> JsonText:
    """Returns the document without an entry that is null, which counts as absent: a key must not be there twice."""
    return document.removed(path) if document.has(*path) and document.get(*path) is None else document
