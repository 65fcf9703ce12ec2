"""Codex's settings — an MCP server in `config.toml`.

Source of the format: Codex's documentation: `[mcp_servers.NAME]` with `command`, `args`, `env`, in `config.toml` in
`~/.codex` (CODEX_HOME moves it) or in a trusted project's `.codex`. Codex has no hook that wakes an idle session, so
its agents call `check_inbox` and `wait_for_message`.
Comments and order are kept by tomlkit, which the extra `codex` installs.
"""

__all__ = ["plan"]

import os
import tomllib
from pathlib import Path
from typing import Any, cast

from mailroom.inbox_directory import NoHomeDirectoryError, expand_home

from mailroom_apps.setup.change import Change, SetupError, read_text
from mailroom_apps.setup.options import SERVER_NAME, SetupOptions
from mailroom_apps.setup.program import is_our_server


def plan(options: SetupOptions) -> list[Change]:
    """Returns the change of the configuration file.

    Raises:
        SetupError: the file cannot be parsed, or tomlkit is not installed.
    """
    path = _file(options)
    before = read_text(path)
    if before is None and options.remove:
        return [Change(path, None, None)]
    try:
        settings = tomllib.loads(before or "")
    except ValueError as error:  # also an integer of thousands of digits
        raise SetupError(f"{path} was not changed: it is not valid TOML ({error})") from error
    except RecursionError as error:
        raise SetupError(f"{path} was not changed: it is nested too deeply") from error
    entry = options.server_entry()
    servers = settings.get("mcp_servers", {})
    if not isinstance(servers, dict):
        raise SetupError(f"{path} was not changed: mcp_servers is not a table")
    current = cast("dict[str, Any]", servers).get(SERVER_NAME)
    if current is not None and not is_our_server(current):
        if options.remove:
            return [Change(path, before, before)]
        raise SetupError(
            f"{path} was not changed: its server {SERVER_NAME!r} belongs to another program; rename that server first"
        )
    if current == (None if options.remove else entry):
        return [Change(path, before, before)]
    after = _edited(path, before or "", None if options.remove else entry)
    name = f"mcp_servers.{SERVER_NAME}"
    old_entries = [] if current is None else [(name, current)]
    new_entries = [] if options.remove else [(name, entry)]
    return [Change(path, before, after if after.strip() or not options.remove else None, old_entries, new_entries)]


def _file(options: SetupOptions) -> Path:
    if not options.for_user:
        return options.directory / ".codex" / "config.toml"
    try:
        return Path(expand_home(os.environ.get("CODEX_HOME") or "~/.codex", "CODEX_HOME")) / "config.toml"
    except NoHomeDirectoryError as error:
        raise SetupError(str(error)) from error


def _edited(path: Path, text: str, entry: dict[str, Any] | None) -> str:
    try:
        import tomlkit
    except ImportError as error:
        raise SetupError(
            "changing TOML needs the extra `codex`: run pip install 'mailroomd[codex]', or paste the output of "
            "`mailroom setup generic`"
        ) from error
    try:
        document = cast("Any", tomlkit.parse(text))
        servers = document.setdefault("mcp_servers", tomlkit.table(is_super_table=True))
        servers.pop(SERVER_NAME, None)
        if entry is not None:
            servers[SERVER_NAME] = _table(tomlkit, entry)
        elif not servers:
            document.pop("mcp_servers")
        edited = tomlkit.dumps(document)
        written = tomllib.loads(edited).get("mcp_servers", {}).get(SERVER_NAME)
    except Exception as error:  # noqa: BLE001 - tomlkit cannot edit all TOML, and raises whatever it meets
        written, edited = error, ""
    if written != entry:
        raise SetupError(
            f"{path} was not changed, because its TOML cannot be edited: paste the output of `mailroom setup generic`"
        )
    return edited


def _table(tomlkit: Any, entry: dict[str, Any]) -> Any:
    table = tomlkit.table()
    for key, value in entry.items():
        table[key] = _table(tomlkit, cast("dict[str, Any]", value)) if isinstance(value, dict) else value
    return table
