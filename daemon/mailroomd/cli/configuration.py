"""configuration — resolves each setting's value: flag, else environment, else file, else default.

Owns the precedence, the TOML file and the errors about them; each error names the source of the wrong value. It
declares no setting (`model.settings` does) and creates nothing. Above: `cli.main`; below: the table of settings.
"""

__all__ = ["Configuration", "ConfigurationError", "Origin", "resolve"]

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from mailroom.home import home_directory
from mailroom.regular_file import read_regular

from mailroomd.model.quantities import as_path, is_loopback, is_tcp, listen_address
from mailroomd.model.settings import NoDefault, Setting, Settings, default_listen, settings_table

MAX_BYTES = 4 << 20  # of the configuration file
_CONFIG_VARIABLE = "MAILROOM_CONFIG"


class Origin(StrEnum):
    """Where a value comes from; the first one wins."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


class ConfigurationError(Exception):
    """A wrong value or name, as a sentence that names its source; `origin` is the kind of source."""

    def __init__(self, sentence: str, origin: Origin) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.origin = origin


@dataclass(frozen=True, slots=True)
class Configuration:
    """The result of `resolve`.

    Attributes:
        settings: the values.
        origins: by field name, where the value comes from.
        sources: by field name, the flag, variable or file; empty for a default.
        file: the configuration file that was read, or empty.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    sources: Mapping[str, str]
    file: str


@dataclass(frozen=True, slots=True)
class _RawValue:
    """The texts given for one setting, not yet parsed, and their source."""

    texts: tuple[str, ...]
    origin: Origin
    source: str
    key: str = ""  # in a file with many keys

    @property
    def described_source(self) -> str:
        """The source, for an error sentence."""
        return f"{self.key} in {self.source}" if self.key else self.source


def resolve(flags: Mapping[str, Sequence[str]], config_file: str | None = None) -> Configuration:
    """Returns the configuration of this process.

    Args:
        flags: the command line's values as texts, by key without dashes (`stuck-after`).
        config_file: the value of `--config`.

    Raises:
        ConfigurationError: an unknown key, an invalid value, an unreadable file, a contradiction.
    """
    path, file_values = _from_file(config_file)
    raw_values: dict[str, _RawValue] = {}
    for setting in settings_table():
        raw = _from_flags(setting, flags) or _from_environment(setting) or file_values.get(setting.key)
        if raw is not None:
            raw_values[setting.field] = raw
    values = {
        setting.field: _parse(setting, raw_values[setting.field])
        for setting in settings_table()
        if setting.field in raw_values
    }
    origins = {
        setting.field: raw_values[setting.field].origin if setting.field in raw_values else Origin.DEFAULT
        for setting in settings_table()
    }
    sources = {setting.field: "" for setting in settings_table()} | {
        field: raw.source for field, raw in raw_values.items()
    }
    return Configuration(_complete(values, raw_values), origins, sources, path)


def _complete(values: dict[str, Any], raw_values: Mapping[str, _RawValue]) -> Settings:
    """Adds the default address and checks the values against each other."""
    try:
        settings = Settings(**values)
    except NoDefault as missing:
        raise ConfigurationError(str(missing), Origin.DEFAULT) from None
    if not settings.listen:
        try:
            values["listen"] = (listen_address(default_listen(settings.state_dir)),)
        except ValueError as error:
            raise ConfigurationError(f"the default for --listen {error}", Origin.DEFAULT) from None
        settings = Settings(**values)
    if settings.gateways > 1 and not any(map(is_tcp, settings.listen)):
        raw = raw_values["gateways"]
        raise ConfigurationError(
            f"{raw.described_source} asks for {settings.gateways} gateways, but several gateways can share only TCP "
            "addresses. Add one, for example --listen 127.0.0.1:50051.",
            raw.origin,
        )
    _check_exposure(settings, raw_values)
    return settings


def _check_exposure(settings: Settings, raw_values: Mapping[str, _RawValue]) -> None:
    """Requires TLS and tokens for every address beyond loopback."""
    for missing, given in (("tls_key", "tls_cert"), ("tls_cert", "tls_key"), ("tls_cert", "tls_client_ca")):
        if getattr(settings, given) is not None and getattr(settings, missing) is None:
            raw, flag = raw_values[given], f"--{missing.replace('_', '-')}"
            raise ConfigurationError(f"{raw.described_source} needs {flag} as well", raw.origin)
    for address in filter(is_tcp, settings.listen):
        if is_loopback(address):
            continue
        raw = raw_values["listen"]
        if settings.auth == "off":
            sentence = (
                f"{raw.described_source} is {address}, which other machines can reach; --auth off allows loopback only"
            )
            raise ConfigurationError(sentence, raw.origin)
        if settings.tls_cert is None:
            sentence = (
                f"{raw.described_source} is {address}, which other machines can reach. Give --tls-cert and --tls-key "
                "(docs/tls.md says how to create them), or listen on loopback (127.0.0.1, [::1], localhost)."
            )
            raise ConfigurationError(sentence, raw.origin)


def _parse(setting: Setting, raw: _RawValue) -> object:
    try:
        values = tuple(setting.parse(text) for text in raw.texts)
    except ValueError as error:
        raise ConfigurationError(f"{raw.described_source} {error}", raw.origin) from None
    return tuple(dict.fromkeys(values)) if setting.repeatable else values[-1]


def _from_flags(setting: Setting, flags: Mapping[str, Sequence[str]]) -> _RawValue | None:
    texts = flags.get(setting.key)
    return _RawValue(tuple(texts), Origin.FLAG, setting.flag) if texts else None


def _from_environment(setting: Setting) -> _RawValue | None:
    text = os.environ.get(setting.variable, "")
    if not text and setting.group == "access" and setting.variable in os.environ:
        # Often an unset variable of a script, which must not turn TLS or the check of clients off.
        raise ConfigurationError(f"{setting.variable} is empty: set it, or unset it", Origin.ENVIRONMENT)
    if not text:  # set but empty counts as unset, as in the XDG specification
        return None
    texts = tuple(part.strip() for part in text.split(",")) if setting.repeatable else (text,)
    return _RawValue(texts, Origin.ENVIRONMENT, setting.variable)


def _from_file(config_file: str | None) -> tuple[str, dict[str, _RawValue]]:
    path, origin = _file_path(config_file)
    if path is None:
        return "", {}
    settings = {setting.key: setting for setting in settings_table()}
    raw_values: dict[str, _RawValue] = {}
    for key, value in _read_toml(path, origin).items():
        if key not in settings:
            raise ConfigurationError(f"{path} has an unknown key {key!r}{_suggestion(key, settings)}", Origin.FILE)
        texts = _as_texts(value, settings[key], f"{key} in {path}")
        raw_values[key] = _RawValue(texts, Origin.FILE, str(path), key)
    return str(path), raw_values


def _file_path(config_file: str | None) -> tuple[Path | None, Origin]:
    for text, source, origin in (
        (config_file, "--config", Origin.FLAG),
        (os.environ.get(_CONFIG_VARIABLE), _CONFIG_VARIABLE, Origin.ENVIRONMENT),
    ):
        if text is not None and (text or origin is Origin.FLAG):
            try:
                return as_path(text), origin
            except ValueError as error:
                raise ConfigurationError(f"{source} {error}", origin) from None
    default = _default_file()
    return (default if default is not None and default.exists() else None), Origin.FILE


def _default_file() -> Path | None:
    config_home = os.environ.get("XDG_CONFIG_HOME", "")
    if config_home.startswith("/"):
        return Path(config_home) / "mailroom" / "mailroomd.toml"
    home = home_directory()
    return None if home is None else home / ".config" / "mailroom" / "mailroomd.toml"


def _read_toml(path: Path, origin: Origin) -> dict[str, Any]:
    import tomllib  # 15 ms that a start without a file need not spend

    try:
        return tomllib.loads(read_regular(path, MAX_BYTES)[0].decode())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", origin) from None
    except ValueError as error:  # TOML and Unicode errors are ValueErrors
        raise ConfigurationError(f"{path} is not valid TOML: {error}", Origin.FILE) from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply; no setting is a nested list", Origin.FILE) from None


def _as_texts(value: object, setting: Setting, source: str) -> tuple[str, ...]:
    """Returns a TOML value as the texts that a flag would have."""
    if setting.repeatable and isinstance(value, list) and value:
        return tuple(text for item in cast("list[object]", value) for text in _as_texts(item, setting, source))
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            return (str(value),)
        except ValueError:  # Python refuses to convert thousands of digits, which TOML may have as hexadecimal ones
            raise ConfigurationError(f"{source} is too large a number", Origin.FILE) from None
    expected = "a string, or a list of strings that is not empty" if setting.repeatable else "a string or a number"
    raise ConfigurationError(f"{source} must be {expected}", Origin.FILE)


def _suggestion(key: str, known_keys: Iterable[str]) -> str:
    keys = list(known_keys)
    matches = difflib.get_close_matches(key.replace("_", "-"), keys, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else f"; known keys are {', '.join(keys)}"
