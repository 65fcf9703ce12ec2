"""Claude Code's settings — where they are, and which of their entries are ours.

Source of the formats: Claude Code's documentation. Hooks: `.claude/settings.json` in a project, `settings.json` in
`~/.claude` for a user, `{"hooks": {EVENT: [{"matcher": …, "hooks": [{"type": "command", …}]}]}}`. MCP servers:
`.mcp.json` in a project, `~/.claude.json` for a user, `{"mcpServers": {NAME: {"command", "args", "env"}}}`.
CLAUDE_CONFIG_DIR moves a user's files. The rule in `permissions.allow` lets a woken session use the tools: there may be
nobody to ask.
"""

__all__ = ["handlers", "plan", "user_files"]

import os
import shlex
from pathlib import Path

from mailroom.inbox_directory import NoHomeDirectoryError, claude_directory

from mailroom_apps.setup.change import Change, SetupError
from mailroom_apps.setup.json_settings import Handler, Server, Settings, plan_file
from mailroom_apps.setup.options import SERVER_NAME, SetupOptions

DIALECT = "claude-code"
HOOK_EVENTS = ("SessionStart", "UserPromptSubmit", "PostToolBatch", "Stop", "SessionEnd")
DOORBELL_EVENTS = (
    "SessionStart",
    "UserPromptSubmit",
    "Stop",
)  # it waits while the session is idle, and mail may come before any prompt
HOOK_TIMEOUT_SEC = 10  # a hook takes 0.05 s, or 0.4 s with mail
DOORBELL_TIMEOUT_SEC = 604_800  # a week; the default of ten minutes would end it while the session still waits


def plan(options: SetupOptions) -> list[Change]:
    """Returns the changes: of the file with MCP servers and of the file with hooks.

    Raises:
        SetupError: a file cannot be parsed, or has another structure.
    """
    servers, hooks = _files(options)
    rule = f"mcp__{SERVER_NAME}__*"
    return [
        plan_file(Settings(servers, Server("mcpServers", options.server_fields())), remove=options.remove),
        plan_file(
            Settings(hooks, handlers=handlers(options), listed={("permissions", "allow"): rule}),
            remove=options.remove,
        ),
    ]


def _files(options: SetupOptions) -> tuple[Path, Path]:
    if not options.for_user:
        return options.directory / ".mcp.json", options.directory / ".claude" / "settings.json"
    return user_files()


def user_files() -> tuple[Path, Path]:
    """Returns a user's files: that with MCP servers, and that with hooks.

    Raises:
        SetupError: they are in the home directory, and there is none.
    """
    try:
        directory = Path(claude_directory())
    except NoHomeDirectoryError as error:
        raise SetupError(str(error)) from error
    servers = directory if os.environ.get("CLAUDE_CONFIG_DIR") else directory.parent
    return servers / ".claude.json", directory / "settings.json"


def handlers(options: SetupOptions) -> list[Handler]:
    """Returns all hooks."""
    hook = {"type": "command", "command": shlex.join(options.hook_command("hook", DIALECT))}
    doorbell = {
        "type": "command",
        "command": shlex.join(options.hook_command("doorbell", DIALECT)),
        "asyncRewake": True,
    }
    name = f" for {options.agent}" if options.agent else ""
    texts = {"rewakeSummary": f"Mail{name}", "rewakeMessage": "New mail:"}
    return [
        *(Handler(event, "hook", hook, {"timeout": HOOK_TIMEOUT_SEC}) for event in HOOK_EVENTS),
        *(
            Handler(event, "doorbell", {**doorbell, **texts}, {"timeout": DOORBELL_TIMEOUT_SEC})
            for event in DOORBELL_EVENTS
        ),
    ]
