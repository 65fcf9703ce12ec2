"""reference — the settings as documentation: the commented example file, and the page in docs/.

Both are generated from the declarations in `model.settings`. `scripts/settings-docs` writes them, and `make check`
fails when they are out of date. Not here: reading a configuration.
"""

__all__ = ["example_toml", "reference_page"]

from itertools import groupby
from textwrap import fill

from mailroomd.model.settings import Setting, settings_table

_EXAMPLE_INTRODUCTION = """\
# mailroomd.toml — every setting with its default. Remove the # in front of a line to change its value.
# The daemon reads $XDG_CONFIG_HOME/mailroom/mailroomd.toml (~/.config/mailroom/mailroomd.toml), or the file given with
# --config.
# Check it with `mailroomd --check-config`; list every value and its origin with `mailroom config show`.
"""
_PAGE_INTRODUCTION = """\
# Settings

Each setting is a command-line flag, an environment variable and a TOML key, declared once in
`daemon/mailroomd/model/settings.py`. `make docs` generates this page and [the example file](mailroomd.example.toml).

Flags override environment variables, which override the file, which overrides the defaults. The file is the one given
with `--config FILE` or `MAILROOM_CONFIG`, otherwise `$XDG_CONFIG_HOME/mailroom/mailroomd.toml` (usually
`~/.config/mailroom/mailroomd.toml`) if it exists. An unknown key is an error that suggests the closest known one.
Durations are written as `500ms`, `10s`, `5m`, `24h` or `7d`, sizes as `64MiB` or `1GiB`.

- `mailroom config show` lists the value of every setting and where it comes from.
- `mailroomd --check-config` checks the configuration without starting anything.
- `mailroomd --example-config` prints a file to start from.

Settings marked ↻ can be changed while the daemon is running: reload them with SIGHUP or
`systemctl --user reload mailroomd`. All others need a restart; a reload logs those that have changed.
"""
_COMMENT_COLUMNS = 110


def example_toml() -> str:
    """Returns the example file: valid TOML with every setting commented out at its default."""
    parts = [_EXAMPLE_INTRODUCTION]
    for group, settings in groupby(settings_table(), key=lambda setting: setting.group):
        parts.append(f"\n# ---- {group} ----\n")
        parts.extend(map(_entry, settings))
    return "".join(parts)


def reference_page() -> str:
    """Returns the page of all settings in Markdown."""
    parts = [_PAGE_INTRODUCTION]
    for group, settings in groupby(settings_table(), key=lambda setting: setting.group):
        parts.append(f"\n## {group[0].upper()}{group[1:]}\n\n| setting | default | description |\n|---|---|---|\n")
        parts.extend(map(_row, settings))
    return "".join(parts)


def _entry(setting: Setting) -> str:
    default = f" Default: {setting.shown_default}." if setting.example != setting.shown_default else ""
    restart = "" if setting.reloadable else " Needs a restart."
    comment = fill(
        f"{setting.help}{default}{restart}",
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
