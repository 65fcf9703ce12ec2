"""configuration_report — shows a configuration: each value and where it comes from.

`mailroomd --show-config` prints it, and `mailroom config show` runs that, because a client does not know the settings.
Values are formatted as flags and the file accept them.
"""

__all__ = ["misspelt_variables", "render_json", "render_text"]

import difflib
import json
import os
from collections.abc import Mapping
from typing import cast

from mailroomd.cli.configuration import Configuration, Origin
from mailroomd.model.quantities import format_value
from mailroomd.model.settings import Setting, settings_table

_CLIENT_VARIABLES = {  # variables of `mailroom` whose names resemble a setting's
    "MAILROOM_AGENT",
    "MAILROOM_TLS_CA",
    "MAILROOM_TLS_CLIENT_CERT",
    "MAILROOM_TLS_CLIENT_KEY",
}
_SIMILARITY = 0.8  # MAILROOM_STUK_AFTER resembles a setting, a client's own MAILROOM_ADDRESS does not


def render_text(configuration: Configuration) -> str:
    """Returns an aligned table: setting, value, where the value comes from."""
    rows = [("SETTING", "VALUE", "FROM")]
    for setting in settings_table():
        value = ", ".join(_formatted_values(configuration, setting))
        rows.append((setting.key, value, _source(configuration, setting)))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{key.ljust(widths[0])}  {value.ljust(widths[1])}  {source}" for key, value, source in rows]
    return "\n".join(lines) + "\n"


def render_json(configuration: Configuration) -> str:
    """Returns one JSON object: `file`, and `settings` with `value`, `origin`, `place` and `reloadable` of each key."""
    settings = {setting.key: _described(configuration, setting) for setting in settings_table()}
    return json.dumps({"file": configuration.file, "settings": settings}, ensure_ascii=False) + "\n"


def misspelt_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Returns a sentence for each variable that resembles a setting but is not one; clients have their own."""
    known = [setting.variable for setting in settings_table()]
    sentences: list[str] = []
    for name in sorted(environ):
        if name.startswith("MAILROOM_") and name not in known and name not in _CLIENT_VARIABLES:
            matches = difflib.get_close_matches(name, known, n=1, cutoff=_SIMILARITY)
            sentences += [f"{name} is not a setting; did you mean {match}?" for match in matches]
    return sentences


def _described(configuration: Configuration, setting: Setting) -> dict[str, object]:
    values = _formatted_values(configuration, setting)
    return {
        "value": values if setting.repeatable else values[0],
        "origin": configuration.origins[setting.field],
        "place": configuration.sources[setting.field],
        "reloadable": setting.reloadable,
    }


def _source(configuration: Configuration, setting: Setting) -> str:
    origin, source = configuration.origins[setting.field], configuration.sources[setting.field]
    return origin if origin is Origin.DEFAULT else f"{origin} ({source})"


def _formatted_values(configuration: Configuration, setting: Setting) -> list[str]:
    value: object = getattr(configuration.settings, setting.field)
    values = cast("tuple[object, ...]", value) if setting.repeatable else (value,)
    return [format_value(item, setting.field) for item in values]
