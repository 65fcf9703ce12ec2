"""Gemini CLI's settings — an MCP server and hooks in `settings.json`, in `~/.gemini` or in a project's `.gemini`.

Source of the format: Gemini CLI's documentation; times are in milliseconds. Without `trust` a run without a terminal
leaves the tools out, and a session asks for each of them. There are no hooks that wake an idle session, and no queue.
"""

__all__ = ["plan"]

import shlex
from pathlib import Path

from mailroom.inbox_directory import NoHomeDirectoryError, expand_home

from mailroom_apps.setup.change import Change, SetupError
from mailroom_apps.setup.json_settings import Handler, Server, Settings, plan_file
from mailroom_apps.setup.options import SetupOptions

DIALECT = "gemini"
EVENTS = ("SessionStart", "BeforeAgent", "AfterTool", "AfterAgent")
TOOL_TIMEOUT_MS = 3_700_000  # wait_for_message waits for up to an hour
HOOK_TIMEOUT_MS = 10_000


def plan(options: SetupOptions) -> list[Change]:
    """Returns the change of the settings.

    Raises:
        SetupError: the file cannot be parsed, or has another structure.
    """
    hook = {"type": "command", "command": shlex.join(options.hook_command("hook", DIALECT))}
    handlers = [Handler(event, "hook", hook, {"name": "mailroom", "timeout": HOOK_TIMEOUT_MS}) for event in EVENTS]
    server = Server("mcpServers", options.server_fields(), {"trust": True, "timeout": TOOL_TIMEOUT_MS})
    return [plan_file(Settings(_file(options), server, handlers), remove=options.remove)]


def _file(options: SetupOptions) -> Path:
    if not options.for_user:
        return options.directory / ".gemini" / "settings.json"
    try:
        return Path(expand_home("~/.gemini", "HOME")) / "settings.json"
    except NoHomeDirectoryError as error:
        raise SetupError(str(error)) from error
