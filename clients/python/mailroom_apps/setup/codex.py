"""Codex's settings — an MCP server in `config.toml`.

Source of the format: Codex's documentation: `[mcp_servers.NAME]` with `command`, `args`, `env`, in `config.toml` in
`~/.codex` (CODEX_HOME moves it) or in a trusted project's `.codex`. Codex has no hook that wakes an idle session, so
its agents look by `check_inbox` and `wait_for_message`.
Comments and order are kept by tomlkit, which the extra `codex` brings.
"""

__all__ = ["plan"]

import os
import tomllib
from pathlib import Path
from typing import Any, cast

from mailroom.addresses import expand_home

from mailroom_apps.setup.change import Change, SetupError, read_text
from mailroom_apps.setup.claude_code import SERVER, Wish
from mailroom_apps.setup.program import is_ours


def plan(wish: Wish) -> list[Change]:
    """Returns what is to change.

    Raises:
        SetupError: the file is not understood, or tomlkit is not installed.
    """
    path = _file(wish)
    before = read_text(path)
    if before is None and wish.remove:
        return [Change(path, None, None)]
    try:
        settings = tomllib.loads(before or "")
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{path} is no TOML ({error}): it is untouched, mend it first") from error
    entry = wish.server()
    servers = settings.get("mcp_servers", {})
    found = cast("dict[str, Any]", servers).get(SERVER) if isinstance(servers, dict) else None
    if found is not None and not is_ours([str(found.get("command")), *map(str, found.get("args", []))], "mcp"):
        if wish.remove:
            return [Change(path, before, before)]
        raise SetupError(f"{path} has a server {SERVER!r} that is not ours: it is untouched, rename that first")
    if found == (None if wish.remove else entry):
        return [Change(path, before, before)]
    after = _edited(before or "", None if wish.remove else entry)
    return [Change(path, before, after if after.strip() or not wish.remove else None)]


def _file(wish: Wish) -> Path:
    if not wish.for_user:
        return wish.directory / ".codex" / "config.toml"
    moved = os.environ.get("CODEX_HOME")
    return (Path(moved) if moved else expand_home("~/.codex")) / "config.toml"


def _edited(text: str, entry: dict[str, Any] | None) -> str:
    try:
        import tomlkit
    except ImportError as error:
        raise SetupError(
            "changing TOML needs the extra `codex`: pip install 'mailroomd[codex]', or paste what `mailroom setup "
            "generic` prints"
        ) from error
    document = cast("Any", tomlkit.parse(text))
    servers = document.setdefault("mcp_servers", tomlkit.table(is_super_table=True))
    servers.pop(SERVER, None)
    if entry is not None:
        servers[SERVER] = _table(tomlkit, entry)
    elif not servers:
        document.pop("mcp_servers")
    return tomlkit.dumps(document)


def _table(tomlkit: Any, entry: dict[str, Any]) -> Any:
    table = tomlkit.table()
    for key, value in entry.items():
        table[key] = _table(tomlkit, cast("dict[str, Any]", value)) if isinstance(value, dict) else value
    return table
