"""Installation — the directories and the address of the daemon on this machine.

They are resolved by the daemon's own rules: argument, environment, configuration file, default. An invalid
configuration does not stop the tools: they fall back to arguments, environment and defaults, and report it.
"""

__all__ = ["Installation"]

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailroom.addresses import Address, find_daemon
from mailroom.errors import InvalidArgument
from mailroom.state_lock import LOCK_NAME

from mailroomd.cli.configuration import ConfigurationError, Origin, resolve
from mailroomd.model.settings import NoDefault, Settings, settings_table
from mailroomd.storage.database.connection import DATABASE_NAME

_USED = ("root", "state_dir")


@dataclass(frozen=True, slots=True)
class Installation:
    """One daemon's directories and address.

    Attributes:
        root: the directory that agents see.
        state_dir: the daemon's own directory.
        address: the daemon's address, or the address where it is expected.
        configuration_error: why the configuration is invalid, "" if it is valid.
        settings: every setting; if the configuration is invalid, the defaults.
    """

    root: Path
    state_dir: Path
    address: Address
    configuration_error: str = ""
    settings: Settings = field(default_factory=Settings)

    @classmethod
    def find(
        cls, *, root: str | None = None, state_dir: str | None = None, address: str | None = None
    ) -> "Installation":
        """Returns the installation that the arguments, the environment and the configuration file describe.

        Raises:
            InvalidArgument: a given address or path is malformed.
        """
        flags = {key: (text,) for key, text in (("root", root), ("state-dir", state_dir)) if text}
        configuration_error = ""
        try:
            configuration = resolve(flags)
            settings = configuration.settings
            is_chosen = configuration.origins["state_dir"] is not Origin.DEFAULT
        except ConfigurationError as invalid:
            configuration_error = invalid.sentence
            settings = _without_file(flags)
            is_chosen = bool(state_dir or os.environ.get("MAILROOM_STATE_DIR"))
        environ = {**os.environ, "MAILROOM_STATE_DIR": str(settings.state_dir)} if is_chosen else os.environ
        found = find_daemon(address, environ)
        return cls(settings.root, settings.state_dir, found, configuration_error, settings)

    @property
    def inbox(self) -> Path:
        """The directory of the inbox files."""
        return self.root / "inbox"

    @property
    def outbox(self) -> Path:
        """The directory of the outbox files."""
        return self.root / "outbox"

    @property
    def teams(self) -> Path:
        """The directory of the native team inboxes."""
        return self.root / "teams"

    @property
    def database(self) -> Path:
        """The daemon's database."""
        return self.state_dir / DATABASE_NAME

    @property
    def lock(self) -> Path:
        """The file whose lock the daemon holds while it runs."""
        return self.state_dir / LOCK_NAME


def _without_file(flags: Mapping[str, tuple[str]]) -> Settings:
    """Returns the directories from arguments, environment and defaults alone."""
    directories: dict[str, Any] = {}
    for setting in settings_table():
        text = flags.get(setting.key, ("",))[0] or os.environ.get(setting.variable, "")
        if setting.field in _USED and text:
            try:
                directories[setting.field] = setting.parse(text)
            except (ValueError, RuntimeError) as error:
                raise InvalidArgument(f"{setting.flag} {error}", field=setting.key) from error
    try:
        return Settings(**directories)
    except NoDefault as error:  # HOME is not set, and the user has no account
        raise InvalidArgument("there is no home directory: give --root and --state-dir, or set HOME") from error
