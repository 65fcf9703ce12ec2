"""Places — where this machine's mail room keeps its things, as the daemon would find them.

Order, as there: what the caller says, the environment, the configuration file, the default. Of the file only `root`
and `state-dir` matter here; one that cannot be read counts as absent, as `mailroomd` itself says what is wrong.
"""

__all__ = ["Places"]

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailroom.addresses import Address, expand_home, find_daemon, state_directory


@dataclass(frozen=True, slots=True)
class Places:
    """What to look at.

    Attributes:
        root: what agents see.
        state_dir: the daemon's own.
        address: where the daemon is, or should be.
    """

    root: Path
    state_dir: Path
    address: Address

    @classmethod
    def find(
        cls,
        *,
        root: str | None = None,
        state_dir: str | None = None,
        address: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> "Places":
        """Returns the places.

        Raises:
            InvalidArgument: an address or a path that was given is none.
        """
        in_file = _configuration(environ)
        chosen_root = root or environ.get("MAILROOM_ROOT") or in_file.get("root") or "~/.claude"
        chosen_state = state_dir or environ.get("MAILROOM_STATE_DIR") or in_file.get("state-dir")
        if chosen_state:
            environ = {**environ, "MAILROOM_STATE_DIR": str(chosen_state)}
        return cls(_absolute(str(chosen_root)), state_directory(environ), find_daemon(address, environ))

    @property
    def inbox(self) -> Path:
        """Where agents find their mail."""
        return self.root / "inbox"

    @property
    def outbox(self) -> Path:
        """Where agents leave responses."""
        return self.root / "outbox"

    @property
    def teams(self) -> Path:
        """Native team inboxes."""
        return self.root / "teams"

    @property
    def database(self) -> Path:
        """The daemon's database."""
        return self.state_dir / "mailroom.db"

    @property
    def lock(self) -> Path:
        """The file whose lock the daemon holds while any of its processes lives."""
        return self.state_dir / "mailroomd.lock"


def _absolute(path: str) -> Path:
    return expand_home(path).absolute()


def _configuration(environ: Mapping[str, str]) -> Mapping[str, Any]:
    home = environ.get("XDG_CONFIG_HOME", "")
    base = home if home.startswith("/") else "~/.config"
    file = environ.get("MAILROOM_CONFIG") or f"{base}/mailroom/mailroomd.toml"
    try:
        return tomllib.loads(Path(file).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return {}
