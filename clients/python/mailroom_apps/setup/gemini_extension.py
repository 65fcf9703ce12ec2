"""Gemini CLI's extension — a directory with the server and the hooks, and a policy that allows the tools.

Source of the formats: Gemini CLI's documentation. An extension needs no change of the user's settings, but cannot give
`trust` to its server: without the policy, a run without a terminal would leave the tools out, and a session would ask
for each of them.
"""

__all__ = ["plan", "policy_file"]

from importlib.metadata import version
from pathlib import Path
from typing import Any

from mailroom_apps.setup import gemini
from mailroom_apps.setup.change import Change
from mailroom_apps.setup.options import SERVER_NAME, SetupOptions
from mailroom_apps.setup.own_files import plan_own_files

POLICY = f"""# Mailroom's tools need no confirmation; written by `mailroom setup gemini --extension`
[[rule]]
mcpName = "{SERVER_NAME}"
toolName = "*"
decision = "allow"
priority = 100
"""


def plan(options: SetupOptions) -> list[Change]:
    """Returns the changes of our files below ~/.gemini.

    Raises:
        SetupError: one of them is not ours, or cannot be read.
    """
    return plan_own_files(_directory(), _files(options), remove=options.remove)


def policy_file() -> Path:
    """Returns the file of the policy."""
    return _directory() / "policies" / "mailroom.toml"


def _directory() -> Path:
    return gemini.user_file().parent


def _files(options: SetupOptions) -> dict[str, object]:
    hooks: dict[str, list[Any]] = {}
    for handler in gemini.handlers(options):
        hooks.setdefault(handler.event, []).append({"hooks": [{**handler.owned, **handler.defaults}]})
    server = {**options.server_entry(), "timeout": gemini.TOOL_TIMEOUT_MS}
    manifest = {"name": "mailroom", "version": version("mailroomd"), "mcpServers": {SERVER_NAME: server}}
    return {
        "extensions/mailroom/gemini-extension.json": manifest,
        "extensions/mailroom/hooks/hooks.json": {"hooks": hooks},
        "policies/mailroom.toml": POLICY,
    }
