"""Codex's settings — an MCP server in `config.toml`, and hooks in `hooks.json`.

Source of the formats: Codex's documentation: `[mcp_servers.NAME]` with `command`, `args`, `env`, and `hooks.json` in
the layout of Claude Code's, in `~/.codex` (CODEX_HOME moves it) or in a trusted project's `.codex`. The server is
required, because Codex starts its first turn without the tools of one that takes a second. Codex clears the environment
of its servers, so the variables that say where the daemon is are named. Codex counts hook output in tokens of four
bytes.
The doorbell wakes an idle session by `codex queue`. The queued prompt says only that there is mail; the hooks show it.
"""

__all__ = ["new_table", "plan"]

import os
import shlex
from pathlib import Path
from typing import Any

from mailroom.inbox_directory import NoHomeDirectoryError, expand_home

from mailroom_apps.setup.change import Change, SetupError, read_text
from mailroom_apps.setup.json_settings import Handler, Settings, plan_file, shaped
from mailroom_apps.setup.options import SERVER_NAME, SetupOptions
from mailroom_apps.setup.program import is_our_server
from mailroom_apps.setup.toml_table import TomlTable, TomlTextError

DIALECT = "codex"
HOOK_EVENTS = ("SessionStart", "UserPromptSubmit", "PostToolUse", "Stop")
HOOK_DEFAULTS: dict[str, Any] = {"timeout": 10, "additionalContextLimit": 10_000}
STOP_DEFAULTS: dict[str, Any] = {"timeout": 10}  # a stop takes no context, and Codex warns of a limit for it
DOORBELL_DEFAULTS: dict[str, Any] = {"async": True, "timeout": 604_800}  # a week
WAKE = 'codex queue --thread "$MAILROOM_SESSION" --message "$(cat)"'
SERVER_DEFAULTS: dict[str, Any] = {
    "required": True,
    "env_vars": [
        "XDG_RUNTIME_DIR",
        "XDG_STATE_HOME",
        "CLAUDE_CONFIG_DIR",
        "MAILROOM_ADDRESS",
        "MAILROOM_ROOT",
        "MAILROOM_STATE_DIR",
        "MAILROOM_TOKEN_FILE",
    ],
}


def plan(options: SetupOptions) -> list[Change]:
    """Returns the changes: of the configuration file and of the file with hooks.

    Raises:
        SetupError: a file cannot be parsed, or cannot be edited without touching anything else.
    """
    directory = _directory(options)
    hooks = Settings(directory / "hooks.json", handlers=_handlers(options))
    return [_plan_server(directory / "config.toml", options), plan_file(hooks, remove=options.remove)]


def new_table(options: SetupOptions) -> str:
    """Returns the table of the MCP server as it stands in a new `config.toml`."""
    return TomlTable("", ("mcp_servers", SERVER_NAME)).merged(options.server_fields(), SERVER_DEFAULTS).text


def _directory(options: SetupOptions) -> Path:
    if not options.for_user:
        return options.directory / ".codex"
    try:
        return Path(expand_home(os.environ.get("CODEX_HOME") or "~/.codex", "CODEX_HOME"))
    except NoHomeDirectoryError as error:
        raise SetupError(str(error)) from error


def _handlers(options: SetupOptions) -> list[Handler]:
    hook = {"type": "command", "command": shlex.join(options.hook_command("hook", DIALECT))}
    doorbell = {"type": "command", "command": shlex.join(options.hook_command("doorbell", DIALECT, "--then", WAKE))}
    return [
        *(Handler(event, "hook", hook, STOP_DEFAULTS if event == "Stop" else HOOK_DEFAULTS) for event in HOOK_EVENTS),
        Handler("Stop", "doorbell", doorbell, DOORBELL_DEFAULTS),
    ]


def _plan_server(path: Path, options: SetupOptions) -> Change:
    before = read_text(path)
    if before is None and options.remove:
        return Change(path, None, None)
    owned = options.server_fields()
    try:
        table = TomlTable(before or "", ("mcp_servers", SERVER_NAME))
        current = table.value
        if current is not None and not is_our_server(current):
            if options.remove:
                return Change(path, before, before)
            raise SetupError(
                f"{path} was not changed: its server {SERVER_NAME!r} belongs to another program; rename it first"
            )
        after = table.removed() if options.remove else table.merged(owned, SERVER_DEFAULTS)
    except TomlTextError as error:
        raise SetupError(
            f"{path} was not changed: {error}. Edit it by hand: `mailroom setup generic` prints what belongs there"
        ) from error
    text = after.text if after.text.strip() or not options.remove else None
    shape = {**owned, **SERVER_DEFAULTS}
    name = f"mcp_servers.{SERVER_NAME}"
    old, new = ([] if table.value is None else [(name, shaped(table.value, shape))] for table in (table, after))
    return Change(path, before, before if before == text else text, old, new)
