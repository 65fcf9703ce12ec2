"""opencode's settings — one plugin file of ours, in `~/.config/opencode/plugins` or in a project's `.opencode/plugins`.

Source of the format: opencode's documentation. It loads every file there without a question; no file of the user is
changed. The plugin adds the MCP server itself, so that a server of the user with our name is kept.
"""

__all__ = ["plan"]

import json
import os
from pathlib import Path

from mailroom.inbox_directory import NoHomeDirectoryError, expand_home

from mailroom_apps.setup.change import Change, SetupError, read_text
from mailroom_apps.setup.options import SetupOptions

FILE = "mailroom.js"
SOURCE = Path(__file__).with_name("opencode_plugin.js")
FIRST_LINE = "// Mailroom's plugin for opencode"


def plan(options: SetupOptions) -> list[Change]:
    """Returns the change of the plugin file.

    Raises:
        SetupError: a file with this name is not ours, or cannot be read.
    """
    path = _directory(options) / FILE
    before = read_text(path)
    if before is not None and not before.startswith(FIRST_LINE):
        if options.remove:
            return [Change(path, before, before)]
        raise SetupError(f"{path} was not changed: it is not a plugin of ours; rename it first")
    after = None if options.remove else _plugin(options)
    old, new = ([] if text is None else [("the plugin", text.splitlines()[4:6])] for text in (before, after))
    return [Change(path, before, after, old, new)]


def _plugin(options: SetupOptions) -> str:
    text = SOURCE.read_text()
    text = text.replace("/*COMMAND*/ []", json.dumps(list(options.command), ensure_ascii=False))
    return text.replace("/*AGENT*/ null", json.dumps(options.agent))


def _directory(options: SetupOptions) -> Path:
    if not options.for_user:
        return options.directory / ".opencode" / "plugins"
    try:
        config = os.environ.get("XDG_CONFIG_HOME") or expand_home("~/.config", "XDG_CONFIG_HOME")
    except NoHomeDirectoryError as error:
        raise SetupError(str(error)) from error
    return Path(config) / "opencode" / "plugins"
