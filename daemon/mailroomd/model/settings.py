"""settings — everything an operator can configure, each setting declared once.

A field's name gives its flag, TOML key and environment variable; the unit at its end is left out (`stuck_after_sec` is
`--stuck-after`, `stuck-after`, `MAILROOM_STUCK_AFTER`). Its metadata holds the help text, metavar, group and parser.
The command line, the configuration file and the reference page are all generated from this table.
Not here: where a value comes from (`cli.configuration`).
"""

__all__ = [
    "RESTORE_DIRECTORY",
    "Intensity",
    "NoDefault",
    "Setting",
    "Settings",
    "default_listen",
    "settings_table",
]

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mailroom.home import NO_HOME, home_directory
from mailroom.inbox_directory import NoHomeDirectoryError, claude_directory

from mailroomd.model import quantities
from mailroomd.model.limits import MAX_FORWARD_BYTES
from mailroomd.model.quantities import Intensity

RESTORE_DIRECTORY = "restore"
"""Below the state directory: `mailroom restore` puts a backup there, and the command-queue restores it at its start."""

_UNITS = {"_per_min": "", "_per_sec": "", "_sec": "", "_bytes": "_size"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: how a field of `Settings` is named, documented and parsed."""

    field: str
    metavar: str
    help: str
    group: str
    shown_default: str
    example: str
    parse: Callable[[str], Any]
    repeatable: bool
    reloadable: bool

    @property
    def key(self) -> str:
        """The name in a TOML file, and of the flag without its dashes."""
        for unit, replacement in _UNITS.items():
            if self.field.endswith(unit):
                return (self.field.removesuffix(unit) + replacement).replace("_", "-")
        return self.field.replace("_", "-")

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return f"MAILROOM_{self.key.replace('-', '_').upper()}"


def _setting(
    default: object,
    metavar: str,
    parse: Callable[[str], object],
    group: str,
    help: str,  # noqa: A002 - argparse's name
    *,
    shown: str = "",
    example: str = "",
    repeatable: bool = False,
    reloadable: bool = False,
) -> Any:
    """Declares a field; a callable default is called for each Settings created without a value.

    A `reloadable` setting takes effect on SIGHUP, so code that uses it must read it from the context each time.
    """
    row = {
        "metavar": metavar,
        "parse": parse,
        "group": group,
        "help": help,
        "shown_default": shown or str(default),
        "example": example or shown or str(default),
        "repeatable": repeatable,
        "reloadable": reloadable,
    }
    return field(default_factory=default, metadata=row) if callable(default) else field(default=default, metadata=row)


class NoDefault(Exception):  # noqa: N818 - names a condition, not an error
    """A setting needs a value, because its default does not exist here; its text is a sentence."""


def _default_root() -> Path:
    try:
        return Path(claude_directory())
    except NoHomeDirectoryError:
        return _home("--root") / ".claude"


def _default_state_dir() -> Path:
    state_home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state_home) if state_home.startswith("/") else _home("--state-dir") / ".local" / "state"
    return base / "mailroom"


def _home(flag: str) -> Path:
    home = home_directory()
    if home is None:
        raise NoDefault(f"{NO_HOME}. Give {flag}.")
    return home


def default_listen(state_dir: Path) -> str:
    """Returns the address to listen on if none is configured.

    The socket belongs in the user's private runtime directory. Without one (no login session), it is in the state
    directory.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_own_directory(runtime):
        return f"unix:{runtime.rstrip('/')}/mailroom/mailroom.sock"
    return f"unix:{state_dir}/mailroom.sock"


def _is_own_directory(directory: str) -> bool:
    try:
        owner = Path(directory).stat().st_uid
    except OSError:
        return False
    return owner == os.geteuid() and os.access(directory, os.W_OK | os.X_OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of the daemon, with the unit in its name."""

    root: Path = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        _default_root, "DIR", quantities.as_path, "paths and addresses",
        "Directory shared with the agents; contains inbox/, outbox/ and teams/.", shown="~/.claude",
    )  # fmt: skip
    state_dir: Path = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        _default_state_dir, "DIR", quantities.as_path, "paths and addresses",
        "Directory for the daemon's own files: database, lock, tokens, addresses. One daemon per directory.",
        shown="$XDG_STATE_HOME/mailroom or ~/.local/state/mailroom", example="~/.local/state/mailroom",
    )  # fmt: skip
    listen: tuple[str, ...] = _setting(
        (), "ADDR", quantities.listen_address, "paths and addresses",
        "Address to listen on: unix:PATH or HOST:PORT (port 0 lets the system choose). TCP clients need a token from "
        "`mailroom token create`; addresses beyond loopback also need --tls-cert. May be repeated; separate several "
        "addresses with commas in the environment.",
        shown="unix:$XDG_RUNTIME_DIR/mailroom/mailroom.sock, or mailroom.sock in the state directory",
        example="unix:~/.local/state/mailroom/mailroom.sock", repeatable=True,
    )  # fmt: skip
    hub: Path | None = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        None, "FILE", quantities.as_path_or_none, "paths and addresses",
        "Exchange mail with other hosts through the hub that this file names; `mailroom hub join` writes it. Needs "
        "mailroomd[hub].", shown="none",
    )  # fmt: skip
    auth: str = _setting(
        "required", "MODE", quantities.one_of("required", "off"), "access",
        "`required`: TCP clients must present a token. `off`: any local process has full access through loopback "
        "(testing only).",
    )  # fmt: skip
    tls_cert: Path | None = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        None, "FILE", quantities.as_path_or_none, "access",
        "Certificate chain (PEM) for the TCP addresses; they then accept only TLS.", shown="none",
    )  # fmt: skip
    tls_key: Path | None = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        None, "FILE", quantities.as_path_or_none, "access",
        "Private key of --tls-cert: PEM, unencrypted, not readable by every user.", shown="none",
    )  # fmt: skip
    tls_client_ca: Path | None = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        None, "FILE", quantities.as_path_or_none, "access",
        "Mutual TLS: accept only clients with a certificate from this authority (PEM). They still need a token.",
        shown="none",
    )  # fmt: skip
    gateways: int = _setting(
        1, "N", quantities.at_least(1), "supervision",
        "Number of gateway processes. Several share the TCP addresses and can serve more calls than one core can.",
    )  # fmt: skip
    stuck_after_sec: float = _setting(
        10.0, "TIME", quantities.duration_sec, "supervision",
        "Replace a worker that has sent no heartbeat for this long. Must be long enough for a slow disk.", shown="10s",
    )  # fmt: skip
    max_restarts: Intensity = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        Intensity(5, 10.0), "N/SECONDS", quantities.intensity, "supervision",
        "Worker restarts allowed within a period; after one more, the daemon exits.",
        reloadable=True,
    )  # fmt: skip
    max_unread: int = _setting(
        100_000, "N", quantities.at_least(1), "limits",
        "Unread messages that a mailbox holds before further sends to it are refused.", reloadable=True,
    )  # fmt: skip
    loop_guard_per_min: int = _setting(
        600, "N", quantities.at_least(1), "limits",
        "Messages per minute that two agents may send each other alternately before sends between them are refused; "
        "stops endless automatic replies.",
        reloadable=True,
    )  # fmt: skip
    max_disk_bytes: int = _setting(
        0, "SIZE", quantities.none_or(quantities.size_bytes(8 << 20, 1 << 50), 0), "limits",
        "Size of the database at which sends are refused; reading and acknowledging still work.", shown="none",
        reloadable=True,
    )  # fmt: skip
    warn_disk_bytes: int = _setting(
        0, "SIZE", quantities.none_or(quantities.size_bytes(1 << 20, 1 << 50), 0), "limits",
        "Size of the database at which the log warns; `none` means 80% of --max-disk-size.", shown="none",
        reloadable=True,
    )  # fmt: skip
    client_rate_per_sec: int = _setting(
        1000, "N", quantities.at_least(1), "limits",
        "Messages per second that one client may send on average; each 16 KiB of a message count as one more. This "
        "and the next two limits apply per token and gateway, and not to the owner on the Unix socket.",
    )  # fmt: skip
    client_streams: int = _setting(
        100, "N", quantities.at_least(1), "limits",
        "Streams and waiting calls that one client may have open.",
    )  # fmt: skip
    client_in_flight_bytes: int = _setting(
        64 << 20, "SIZE", quantities.size_bytes(1 << 20, 64 << 30), "limits",
        "Total size of the requests that one client may have in flight.", shown="64MiB",
    )  # fmt: skip
    owner_streams: int = _setting(
        10_000, "N", quantities.at_least(1), "limits",
        "Streams and waiting calls that may be open on the Unix socket, for all clients together; each takes about "
        "25 KiB.",
    )  # fmt: skip
    keep_read_sec: float = _setting(
        24 * 3600.0, "TIME", quantities.duration_sec, "retention",
        "Delete read and expired messages after this time. Unread messages are never deleted.", shown="24h",
        reloadable=True,
    )  # fmt: skip
    sweep_every_sec: float = _setting(
        60.0, "TIME", quantities.duration_sec, "retention",
        "How often to look for messages to expire or delete.", shown="60s",
        reloadable=True,
    )  # fmt: skip
    forget_agents_sec: float = _setting(
        30 * 24 * 3600.0, "TIME", quantities.duration_sec, "retention",
        "Forget an agent that has not connected for this long and has no mail.", shown="30d",
        reloadable=True,
    )  # fmt: skip
    hub_accept: tuple[str, ...] = _setting(
        ("*",), "HOST[=AGENT]", quantities.host_rule, "other hosts",
        "Other hosts that may write to agents here, with * and ? as in file names: `build*=bob`. What is refused "
        "returns to its sender. May be repeated.",
        shown="*", repeatable=True, reloadable=True,
    )  # fmt: skip
    hub_deny: tuple[str, ...] = _setting(
        ("",), "HOST[=AGENT]", quantities.none_or(quantities.host_rule, ""), "other hosts",
        "Other hosts that may not write to agents here, whatever --hub-accept says. May be repeated.",
        shown="none", repeatable=True, reloadable=True,
    )  # fmt: skip
    max_forward_bytes: int = _setting(
        MAX_FORWARD_BYTES, "SIZE", quantities.size_bytes(1 << 20, 1 << 50), "other hosts",
        "Total size of the messages that may wait for one other host before further sends to it are refused.",
        shown="1GiB", reloadable=True,
    )  # fmt: skip
    table_bytes: int = _setting(
        64 << 20, "SIZE", quantities.size_bytes(8 << 20, 64 << 30), "memory",
        "Shared memory for recent messages; older ones are read from the database.", shown="64MiB",
    )  # fmt: skip
    table_mailboxes: int = _setting(
        131_072, "N", quantities.at_least(1), "memory",
        "Mailboxes whose counters are kept in shared memory; those of further mailboxes are read from the database.",
    )  # fmt: skip
    log_level: str = _setting(
        "info", "LEVEL", quantities.one_of("debug", "info", "warning", "error"), "logging",
        "Lowest level to log: debug, info, warning or error.", reloadable=True,
    )  # fmt: skip
    log_format: str = _setting(
        "auto", "FORMAT", quantities.one_of("auto", "console", "json"), "logging",
        "`console`, `json`, or `auto`: colors in a terminal, text with priorities in the journal, otherwise JSON "
        "lines.",
        reloadable=True,
    )  # fmt: skip
    metrics: str = _setting(
        "", "HOST:PORT", quantities.none_or(quantities.loopback_address, ""), "observability",
        "Serve metrics for Prometheus on http://HOST:PORT/metrics; loopback only. The scraper needs an administrator's "
        "token (`mailroom token create --admin`) unless --auth is off.", shown="none",
    )  # fmt: skip
    trace: str = _setting(
        "", "TARGET", quantities.none_or(quantities.trace_target, ""), "observability",
        "Trace sends with OpenTelemetry to http://HOST:PORT/v1/traces (OTLP) or file:PATH; needs mailroomd[tracing].",
        shown="none",
    )  # fmt: skip


def settings_table() -> tuple[Setting, ...]:
    """Returns the rows in the order of their declaration."""
    return tuple(Setting(field=declared.name, **declared.metadata) for declared in fields(Settings))
