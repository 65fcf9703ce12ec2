"""reference — the settings for people to read: the commented example file, and the page in docs/.

Both are made from the one declaration in `model.settings`. `scripts/settings-docs` writes them; `make check` fails when
they are not what this makes. Nothing here reads a configuration.
"""

__all__ = ["example_toml", "reference_page"]

from itertools import groupby
from textwrap import fill

from mailroomd.model.settings import Setting, settings_table

_INTRODUCTION = """\
# mailroomd.toml — every setting with its default; take the # away from what you change.
# The daemon reads $XDG_CONFIG_HOME/mailroom/mailroomd.toml (~/.config/mailroom/mailroomd.toml), or what --config names.
# Check it with: mailroomd --check-config        See what holds and why with: mailroom config show
"""
_PAGE = """\
# Settings

Each setting is a flag, an environment variable and a TOML key, declared once, in `daemon/mailroomd/model/settings.py`;
this page and [the example file](mailroomd.example.toml) are made from that by `make docs`.

A flag wins over the environment, that over the file, that over the default. The file is
`$XDG_CONFIG_HOME/mailroom/mailroomd.toml` (usually `~/.config/mailroom/mailroomd.toml`), or what `--config FILE` or
`MAILROOM_CONFIG` names. A key that is not known is an error, which names the nearest known one. Durations are written
`500ms`, `10s`, `5m`, `24h` or `7d`, sizes `64MiB` or `1GiB`.

- `mailroom config show` says what would hold, and where each value comes from.
- `mailroomd --check-config` checks without starting anything.
- `mailroomd --example-config` prints a file to begin with.

What is marked ↻ is taken over by a reload (SIGHUP, `systemctl --user reload mailroomd`) while mail flows. The others
wait for a restart; a reload that finds them changed says so in the log.
"""
_COMMENT_COLUMNS = 110


def example_toml() -> str:
    """Returns the example file: valid TOML, in which every setting is commented out at its default."""
    parts = [_INTRODUCTION]
    for group, settings in groupby(settings_table(), key=lambda setting: setting.group):
        parts.append(f"\n# ---- {group} ----\n")
        parts.extend(map(_entry, settings))
    return "".join(parts)


def reference_page() -> str:
    """Returns the page of all settings in Markdown."""
    parts = [_PAGE]
    for group, settings in groupby(settings_table(), key=lambda setting: setting.group):
        parts.append(f"\n## {group.capitalize()}\n\n| setting | default | what |\n|---|---|---|\n")
        parts.extend(map(_row, settings))
    return "".join(parts)


def _entry(setting: Setting) -> str:
    default = f" (default: {setting.shown_default})" if setting.example != setting.shown_default else ""
    when = "" if setting.reloadable else "; a change takes a restart"
    comment = fill(
        f"{setting.help}{default}{when}",
        _COMMENT_COLUMNS,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"\n{comment}\n#{setting.key} = {_toml_value(setting)}\n"


def _toml_value(setting: Setting) -> str:
    if setting.example.isdigit():
        return setting.example
    text = f'"{setting.example}"'
    return f"[{text}]" if setting.repeatable else text


def _row(setting: Setting) -> str:
    mark = " ↻" if setting.reloadable else ""
    names = f"`{setting.flag} {setting.metavar}`{mark}<br>`{setting.variable}`"
    return f"| {names} | `{setting.shown_default}` | {setting.help.replace('|', chr(92) + '|')} |\n"
