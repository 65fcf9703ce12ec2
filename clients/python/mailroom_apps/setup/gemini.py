"""Gemini CLI's settings — an MCP server and hooks in `settings.json`, in `~/.gemini` or in a project's `.gemini`.

Source of the format: Gemini CLI's documentation; times are in milliseconds. Without `trust` a run without a terminal
leaves the tools out, and a session asks for each of them. There are no hooks that wake an idle session, and no queue. A
hook that waits keeps the turn open, so it is only for an agent on call, whose terminal nobody uses.
"""

__all__ = ["TOOL_TIMEOUT_MS", "handlers", "plan", "user_file"]

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
ON_CALL_TIMEOUT_MS = 604_800_000  # a week


def plan(options: SetupOptions) -> list[Change]:
    """Returns the change of the settings.

    Raises:
        SetupError: the file cannot be parsed, or has another structure.
    """
    server = Server("mcpServers", options.server_fields(), {"trust": True, "timeout": TOOL_TIMEOUT_MS})
    file = user_file() if options.for_user else options.directory / ".gemini" / "settings.json"
    return [plan_file(Settings(file, server, handlers(options)), remove=options.remove)]


def handlers(options: SetupOptions) -> list[Handler]:
    """Returns all hooks."""
    hook, doorbell = (
        {"type": "command", "command": shlex.join(options.hook_command(name, DIALECT))} for name in ("hook", "doorbell")
    )
    hooks = [Handler(event, "hook", hook, {"name": "mailroom", "timeout": HOOK_TIMEOUT_MS}) for event in EVENTS]
    if options.on_call:
        defaults = {"name": "mailroom on call", "timeout": ON_CALL_TIMEOUT_MS}
        hooks.append(Handler("AfterAgent", "doorbell", doorbell, defaults))
    return hooks


def user_file() -> Path:
    """Returns the file of a user's settings.

    Raises:
        SetupError: it is in the home directory, and there is none.
    """
    try:
        return Path(expand_home("~/.gemini", "HOME")) / "settings.json"
    except NoHomeDirectoryError as error:
        raise SetupError(str(error)) from error
