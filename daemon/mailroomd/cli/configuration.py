"""Configuration — finds each setting's value: flag, else environment, else file, else default.

Owns the precedence, the TOML file and the errors about them; each error names the place where the wrong value stands.
It declares no setting (`model.settings` does) and creates nothing. Above: `cli.main`; below: the settings' table.
"""

__all__ = ["Configuration", "ConfigurationError", "Origin", "resolve"]

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from mailroomd.model.quantities import as_path, is_loopback, is_tcp, listen_address
from mailroomd.model.settings import Setting, Settings, default_listen, settings_table

_CONFIG_VARIABLE = "MAILROOM_CONFIG"


class Origin(StrEnum):
    """Where a value came from; the earlier one wins."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


class ConfigurationError(Exception):
    """A wrong value or name, as one sentence that names the place; `origin` is where it stands."""

    def __init__(self, sentence: str, origin: Origin) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.origin = origin


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings; by field name the origin of each, and its place (a flag, a variable, a file); the file, or ""."""

    settings: Settings
    origins: Mapping[str, Origin]
    places: Mapping[str, str]
    file: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What was written for one setting, and where."""

    texts: tuple[str, ...]
    origin: Origin
    place: str
    key: str = ""  # in a file with many

    @property
    def named(self) -> str:
        """The place for an error sentence."""
        return f"{self.key} in {self.place}" if self.key else self.place


def resolve(flags: Mapping[str, Sequence[str]], config_file: str | None = None) -> Configuration:
    """Returns the configuration of this process.

    Args:
        flags: what the command line gave, by key without dashes (`stuck-after`), each value as it was written.
        config_file: what `--config` gave.

    Raises:
        ConfigurationError: an unknown key, a value that cannot be read, a file that cannot be read, a contradiction.
    """
    path, in_file = _from_file(config_file)
    found: dict[str, _Found] = {}
    for setting in settings_table():
        one = _from_flags(setting, flags) or _from_environment(setting) or in_file.get(setting.key)
        if one is not None:
            found[setting.field] = one
    values = {
        setting.field: _parse(setting, found[setting.field]) for setting in settings_table() if setting.field in found
    }
    origins = {
        setting.field: found[setting.field].origin if setting.field in found else Origin.DEFAULT
        for setting in settings_table()
    }
    places = {setting.field: "" for setting in settings_table()} | {name: one.place for name, one in found.items()}
    return Configuration(_completed(values, found), origins, places, path)


def _completed(values: dict[str, Any], found: Mapping[str, _Found]) -> Settings:
    """The settings with the default address, checked for what no single value shows."""
    settings = Settings(**values)
    if not settings.listen:
        try:
            values["listen"] = (listen_address(default_listen(settings.state_dir)),)
        except ValueError as error:
            raise ConfigurationError(f"the default for --listen {error}", Origin.DEFAULT) from None
        settings = Settings(**values)
    if settings.gateways > 1 and not any(map(is_tcp, settings.listen)):
        place = found["gateways"]
        raise ConfigurationError(
            f"{place.named} asks for {settings.gateways} gateways, but more than one can share TCP addresses only: "
            "add one, e.g. --listen 127.0.0.1:50051",
            place.origin,
        )
    _check_exposure(settings, found)
    return settings


def _check_exposure(settings: Settings, found: Mapping[str, _Found]) -> None:
    """What reaches beyond this machine's loopback is encrypted and asks for tokens."""
    for missing, given in (("tls_key", "tls_cert"), ("tls_cert", "tls_key"), ("tls_cert", "tls_client_ca")):
        if getattr(settings, given) is not None and getattr(settings, missing) is None:
            place, flag = found[given], f"--{missing.replace('_', '-')}"
            raise ConfigurationError(f"{place.named} is of no use without {flag}: give both", place.origin)
    for address in filter(is_tcp, settings.listen):
        if is_loopback(address):
            continue
        place = found["listen"]
        if settings.auth == "off":
            sentence = f"{place.named} has {address}, which others can reach: with --auth off only loopback may be used"
            raise ConfigurationError(sentence, place.origin)
        if settings.tls_cert is None:
            sentence = (
                f"{place.named} has {address}, which others can reach: give --tls-cert and --tls-key (docs/tls.md says "
                "how to make them), or listen on loopback (127.0.0.1, [::1], localhost)"
            )
            raise ConfigurationError(sentence, place.origin)


def _parse(setting: Setting, found: _Found) -> object:
    try:
        values = tuple(setting.parse(text) for text in found.texts)
    except ValueError as error:
        raise ConfigurationError(f"{found.named} {error}", found.origin) from None
    return tuple(dict.fromkeys(values)) if setting.repeatable else values[-1]


def _from_flags(setting: Setting, flags: Mapping[str, Sequence[str]]) -> _Found | None:
    texts = flags.get(setting.key)
    return _Found(tuple(texts), Origin.FLAG, setting.flag) if texts else None


def _from_environment(setting: Setting) -> _Found | None:
    text = os.environ.get(setting.variable, "")
    if not text:  # set but empty counts as unset, as in the XDG specification
        return None
    texts = tuple(part.strip() for part in text.split(",")) if setting.repeatable else (text,)
    return _Found(texts, Origin.ENVIRONMENT, setting.variable)


def _from_file(config_file: str | None) -> tuple[str, dict[str, _Found]]:
    path, origin = _file_path(config_file)
    if path is None:
        return "", {}
    rows = {setting.key: setting for setting in settings_table()}
    found: dict[str, _Found] = {}
    for key, value in _read_toml(path, origin).items():
        if key not in rows:
            raise ConfigurationError(f"{path} has an unknown key {key!r}{_nearest(key, rows)}", Origin.FILE)
        found[key] = _Found(_texts(value, rows[key], f"{key} in {path}"), Origin.FILE, str(path), key)
    return str(path), found


def _file_path(config_file: str | None) -> tuple[Path | None, Origin]:
    for text, place, origin in (
        (config_file, "--config", Origin.FLAG),
        (os.environ.get(_CONFIG_VARIABLE), _CONFIG_VARIABLE, Origin.ENVIRONMENT),
    ):
        if text is not None and (text or origin is Origin.FLAG):
            try:
                return as_path(text), origin
            except ValueError as error:
                raise ConfigurationError(f"{place} {error}", origin) from None
    home = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".config"
    usual = base / "mailroom" / "mailroomd.toml"
    return (usual if usual.exists() else None), Origin.FILE


def _read_toml(path: Path, origin: Origin) -> dict[str, Any]:
    import tomllib  # 15 ms that a start without a file need not spend

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", origin) from None
    except ValueError as error:  # TOML and Unicode errors are ValueErrors
        raise ConfigurationError(f"{path} is not valid TOML: {error}", Origin.FILE) from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply: no setting is a list of lists", Origin.FILE) from None


def _texts(value: object, setting: Setting, place: str) -> tuple[str, ...]:
    """A TOML value as the text that a flag would have."""
    if setting.repeatable and isinstance(value, list) and value:
        return tuple(text for one in cast("list[object]", value) for text in _texts(one, setting, place))
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return (str(value),)
    what = "a text, or a list of texts that is not empty" if setting.repeatable else "a text or a number"
    raise ConfigurationError(f"{place} must be {what}", Origin.FILE)


def _nearest(key: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(key.replace("_", "-"), names, n=1)
    return f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"
