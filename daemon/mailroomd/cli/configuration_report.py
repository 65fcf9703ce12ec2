"""configuration_report — shows a configuration: each value, and where it came from.

`mailroomd --show-config` prints it, and `mailroom config show` calls that: a client does not know the settings.
Values are written as flags and the file take them, so that they can be copied there.
"""

__all__ = ["as_json", "as_text", "misspelt_variables"]

import difflib
import json
import os
from collections.abc import Mapping
from typing import cast

from mailroomd.cli.configuration import Configuration, Origin
from mailroomd.model.quantities import written
from mailroomd.model.settings import Setting, settings_table

_CLIENTS_OWN = {  # mailroom's variables that are near to one of ours
    "MAILROOM_AGENT",
    "MAILROOM_TLS_CA",
    "MAILROOM_TLS_CLIENT_CERT",
    "MAILROOM_TLS_CLIENT_KEY",
}
_NEAR = 0.8  # MAILROOM_STUK_AFTER is near, a client's own MAILROOM_ADDRESS is not


def as_text(configuration: Configuration) -> str:
    """Returns an aligned table: setting, value, where the value came from."""
    rows = [("SETTING", "VALUE", "FROM")]
    for setting in settings_table():
        value = ", ".join(_texts(configuration, setting))
        rows.append((setting.key, value, _source(configuration, setting)))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{key.ljust(widths[0])}  {value.ljust(widths[1])}  {source}" for key, value, source in rows]
    return "\n".join(lines) + "\n"


def as_json(configuration: Configuration) -> str:
    """Returns one JSON object: `file`, and `settings` with `value`, `origin` and `place` of each key."""
    settings = {setting.key: _described(configuration, setting) for setting in settings_table()}
    return json.dumps({"file": configuration.file, "settings": settings}, ensure_ascii=False) + "\n"


def misspelt_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Returns a sentence for each variable that is no setting's and nearly is; clients have variables of their own."""
    known = [setting.variable for setting in settings_table()]
    sentences: list[str] = []
    for name in sorted(environ):
        if name.startswith("MAILROOM_") and name not in known and name not in _CLIENTS_OWN:
            near = difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
            sentences += [f"{name} is no setting, did you mean {one}?" for one in near]
    return sentences


def _described(configuration: Configuration, setting: Setting) -> dict[str, object]:
    texts = _texts(configuration, setting)
    return {
        "value": texts if setting.repeatable else texts[0],
        "origin": configuration.origins[setting.field],
        "place": configuration.places[setting.field],
        "reloadable": setting.reloadable,
    }


def _source(configuration: Configuration, setting: Setting) -> str:
    origin, place = configuration.origins[setting.field], configuration.places[setting.field]
    return origin if origin is Origin.DEFAULT else f"{origin} ({place})"


def _texts(configuration: Configuration, setting: Setting) -> list[str]:
    value: object = getattr(configuration.settings, setting.field)
    values = cast("tuple[object, ...]", value) if setting.repeatable else (value,)
    return [written(one, setting.field) for one in values]
