"""Qwen Code's settings — an MCP server and hooks in `settings.json`, in `~/.qwen` or in a project's `.qwen`.

Source of the format: Qwen Code's documentation: the layout of Gemini CLI's settings, with the event names of Claude
Code. A session that was started with `--input-file FILE` is woken by a line in that file, which its doorbell appends.
"""

__all__ = ["plan"]

import shlex
from pathlib import Path

from mailroom.inbox_directory import NoHomeDirectoryError, expand_home

from mailroom_apps.setup.change import Change, SetupError
from mailroom_apps.setup.json_settings import Handler, Server, Settings, plan_file
from mailroom_apps.setup.options import SetupOptions

DIALECT = "qwen"
EVENTS = ("SessionStart", "UserPromptSubmit", "PostToolUse", "Stop")
TOOL_TIMEOUT_MS = 3_700_000  # wait_for_message waits for up to an hour
HOOK_TIMEOUT_MS = 10_000
DOORBELL_EVENTS = ("SessionStart", "Stop")
DOORBELL_TIMEOUT_MS = 604_800_000  # a week


def plan(options: SetupOptions) -> list[Change]:
    """Returns the change of the settings.

    Raises:
        SetupError: the file cannot be parsed, or has another structure.
    """
    hook = {"type": "command", "command": shlex.join(options.hook_command("hook", DIALECT))}
    doorbell = {"type": "command", "command": shlex.join(options.hook_command("doorbell", DIALECT)), "async": True}
    handlers = [Handler(event, "hook", hook, {"name": "mailroom", "timeout": HOOK_TIMEOUT_MS}) for event in EVENTS]
    handlers += [
        Handler(event, "doorbell", doorbell, {"name": "mailroom doorbell", "timeout": DOORBELL_TIMEOUT_MS})
        for event in DOORBELL_EVENTS
    ]
    server = Server("mcpServers", options.server_fields(), {"trust": True, "timeout": TOOL_TIMEOUT_MS})
    return [plan_file(Settings(_file(options), server, handlers), remove=options.remove)]


def _file(options: SetupOptions) -> Path:
    if not options.for_user:
        return options.directory / ".qwen" / "settings.json"
    try:
        return Path(expand_home("~/.qwen", "HOME")) / "settings.json"
    except NoHomeDirectoryError as error:
        raise SetupError(str(error)) from error
