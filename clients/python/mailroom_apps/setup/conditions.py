"""Conditions — what a program needs besides our entries: that its user has agreed, for example.

Source: the files in which the programs keep that, as seen with the versions of docs/agents.md. A file that is absent or
cannot be read says nothing, and then the condition is not met.
"""

__all__ = ["Condition", "claude_code_in_project", "claude_plugin", "codex", "gemini"]

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast

from mailroom_apps.setup import claude_code, gemini_extension
from mailroom_apps.setup import claude_plugin as plugin
from mailroom_apps.setup import codex as codex_setup
from mailroom_apps.setup import gemini as gemini_setup
from mailroom_apps.setup.change import SetupError, read_text
from mailroom_apps.setup.json_text import JsonText
from mailroom_apps.setup.options import SERVER_NAME, SetupOptions

Condition: TypeAlias = Callable[[SetupOptions], "tuple[str, str] | None"]  # what is wrong, what to do

HOOKS_STATE = "hooks.state"  # in Codex's config.toml: the hooks that its user has agreed to


def claude_code_in_project(options: SetupOptions) -> tuple[str, str] | None:
    """Returns what is wrong: a server of a project has to be approved once."""
    approvals = list(_approvals(options.directory))
    if any(SERVER_NAME in _list(fields, "disabledMcpjsonServers") for fields in approvals):
        return "its server was refused in this project", "run `claude mcp reset-project-choices`, then approve it"
    is_approved = any(
        fields.get("enableAllProjectMcpServers") is True or SERVER_NAME in _list(fields, "enabledMcpjsonServers")
        for fields in approvals
    )
    if not is_approved:
        return "nobody has approved its server in this project yet", "start claude in a terminal here and approve it"
    return None


def claude_plugin(options: SetupOptions) -> tuple[str, str] | None:
    """Returns what is wrong: the plugin has to be installed."""
    del options
    enabled = _object(_read(claude_code.user_files()[1]).get("enabledPlugins"))
    if enabled.get(plugin.PLUGIN) is True:
        return None
    directory = shlex.quote(str(plugin.directory_of()))
    return (
        "its plugin is made, but not installed",
        f"run claude plugin marketplace add {directory} && claude plugin install {plugin.PLUGIN}",
    )


def codex(options: SetupOptions) -> tuple[str, str] | None:
    """Returns what is wrong: somebody has to agree to the hooks, and the doorbell needs the program."""
    config, hooks = (change.path for change in codex_setup.plan(options))
    state = read_text(config) or ""
    if not (HOOKS_STATE in state and str(os.path.realpath(hooks)) in state):
        return (
            "nobody has agreed to its hooks yet, and `codex exec` skips them without a word",
            "start codex in a terminal and agree when it asks",
        )
    if not shutil.which("codex"):
        return "`codex` is not on PATH, and its doorbell wakes it by `codex queue`", "add its directory to PATH"
    return None


def gemini(options: SetupOptions) -> tuple[str, str] | None:
    """Returns what is wrong: without trust and without a policy a run without a terminal leaves the tools out."""
    path = gemini_setup.plan(options)[0].path
    server = _object(_object(_read(path).get("mcpServers")).get(SERVER_NAME))
    if server.get("trust") is True or gemini_extension.policy_file().exists():
        return None
    return (
        "its server is not trusted, so runs without a terminal leave its tools out",
        f'set "trust": true for the server {SERVER_NAME} in {path}',
    )


def _approvals(project: Path) -> Iterator[dict[str, Any]]:
    """Yields what may hold approvals of a project's servers."""
    servers, user_settings = claude_code.user_files()
    yield _object(_object(_read(servers).get("projects")).get(str(project)))
    for path in (project / ".claude" / "settings.local.json", project / ".claude" / "settings.json", user_settings):
        yield _read(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        return _object(JsonText(read_text(path) or "{}").value)
    except (SetupError, ValueError):
        return {}


def _list(fields: dict[str, Any], key: str) -> list[Any]:
    value = fields.get(key)
    return cast("list[Any]", value) if isinstance(value, list) else []


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
