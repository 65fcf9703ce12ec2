"""Settings — what an operator can choose, each choice declared once.

A field's name gives its flag, TOML key and environment name (the unit at its end is left out: `stuck_after_sec` is
`--stuck-after`, `stuck-after`, `MAILROOM_STUCK_AFTER`); its metadata gives help, metavar, group and parser. The command
line, the configuration file and the reference page are all made from this table. Where a value came from is
`cli.configuration`'s to know. Standard library only.
"""

__all__ = ["RESTORE_DIRECTORY", "Intensity", "Setting", "Settings", "default_listen", "settings_table"]

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mailroom.inbox_directory import claude_directory

from mailroomd.model import quantities
from mailroomd.model.quantities import Intensity

RESTORE_DIRECTORY = "restore"
"""Below the state directory: `mailroom restore` leaves a backup there, and the command-queue takes it at its start."""

_UNITS = {"_per_min": "", "_per_sec": "", "_sec": "", "_bytes": "_size"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: how a field of `Settings` is called, explained and read."""

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
        """The name in a TOML file, and of the flag behind its dashes."""
        for unit, instead in _UNITS.items():
            if self.field.endswith(unit):
                return (self.field.removesuffix(unit) + instead).replace("_", "-")
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
    help: str,  # noqa: A002 - as argparse calls it
    *,
    shown: str = "",
    example: str = "",
    repeatable: bool = False,
    reloadable: bool = False,
) -> Any:
    """Declares a field; a callable default is called for each Settings made without a value.

    What is `reloadable` takes effect on SIGHUP: whoever uses it must read it from the context's settings each time.
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


def _default_root() -> Path:
    return Path(claude_directory())


def _default_state_dir() -> Path:
    chosen = os.environ.get("XDG_STATE_HOME", "")
    base = Path(chosen) if chosen.startswith("/") else Path.home() / ".local" / "state"
    return base / "mailroom"


def default_listen(state_dir: Path) -> str:
    """Returns the address that is listened on when none was asked for.

    A private runtime directory is the place for sockets; where there is none (no login session), the state directory.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_ours(runtime):
        return f"unix:{runtime.rstrip('/')}/mailroom/mailroom.sock"
    return f"unix:{state_dir}/mailroom.sock"


def _is_ours(directory: str) -> bool:
    try:
        owner = Path(directory).stat().st_uid
    except OSError:
        return False
    return owner == os.geteuid() and os.access(directory, os.W_OK | os.X_OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of the daemon, with its unit in its name."""

    root: Path = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        _default_root, "DIR", quantities.as_path, "places",
        "where agents look: holds inbox/, outbox/ and teams/", shown="~/.claude",
    )  # fmt: skip
    state_dir: Path = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        _default_state_dir, "DIR", quantities.as_path, "places",
        "the daemon's own files: database, lock, addresses; one daemon per directory",
        shown="$XDG_STATE_HOME/mailroom or ~/.local/state/mailroom", example="~/.local/state/mailroom",
    )  # fmt: skip
    listen: tuple[str, ...] = _setting(
        (), "ADDR", quantities.listen_address, "places",
        "unix:PATH or HOST:PORT (port 0 lets the system choose); TCP needs a token of `mailroom token create`, and "
        "--tls-cert unless it is loopback; may be given several times, separated by commas in the environment",
        shown="unix:$XDG_RUNTIME_DIR/mailroom/mailroom.sock, or mailroom.sock in the state directory",
        example="unix:~/.local/state/mailroom/mailroom.sock", repeatable=True,
    )  # fmt: skip
    auth: str = _setting(
        "required", "WHEN", quantities.one_of("required", "off"), "access",
        "required: who comes over TCP shows a token; off: whoever reaches the loopback port may do everything, that "
        "is, every user and program of this machine: for tests",
    )  # fmt: skip
    tls_cert: Path | None = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        None, "FILE", quantities.as_path_or_none, "access",
        "certificate chain (PEM) for the TCP addresses, which then speak TLS only", shown="none",
    )  # fmt: skip
    tls_key: Path | None = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        None, "FILE", quantities.as_path_or_none, "access",
        "its private key (PEM, not encrypted, not readable by everybody)", shown="none",
    )  # fmt: skip
    tls_client_ca: Path | None = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        None, "FILE", quantities.as_path_or_none, "access",
        "mutual TLS: only clients with a certificate of this authority (PEM) may connect; they still need a token",
        shown="none",
    )  # fmt: skip
    gateways: int = _setting(
        1, "N", quantities.at_least(1), "supervision",
        "gateway processes; more than one share the TCP addresses, for more calls than one core can serve",
    )  # fmt: skip
    stuck_after_sec: float = _setting(
        10.0, "TIME", quantities.duration_sec, "supervision",
        "a worker without a heartbeat for this long is replaced; long enough for a slow disk", shown="10s",
    )  # fmt: skip
    max_restarts: Intensity = _setting(  # noqa: RUF009 - a field, with a frozen default or a factory
        Intensity(5, 10.0), "N/SECONDS", quantities.intensity, "supervision",
        "more restarts than this within the period and the daemon gives up, since restarting does not help",
        reloadable=True,
    )  # fmt: skip
    max_unread: int = _setting(
        100_000, "N", quantities.at_least(1), "limits",
        "unread messages in one mailbox before its senders are refused: nobody reads it", reloadable=True,
    )  # fmt: skip
    loop_guard_per_min: int = _setting(
        600, "N", quantities.at_least(1), "limits",
        "messages a minute that may alternate within one pair, so that two agents cannot answer each other for ever",
        reloadable=True,
    )  # fmt: skip
    max_disk_bytes: int = _setting(
        0, "SIZE", quantities.none_or(quantities.size_bytes(8 << 20, 1 << 50), 0), "limits",
        "what the database may take before sends are refused; reading and acknowledging go on", shown="none",
        reloadable=True,
    )  # fmt: skip
    warn_disk_bytes: int = _setting(
        0, "SIZE", quantities.none_or(quantities.size_bytes(1 << 20, 1 << 50), 0), "limits",
        "what the database may take before the log warns; 0.8 of --max-disk-size if not given", shown="none",
        reloadable=True,
    )  # fmt: skip
    client_rate_per_sec: int = _setting(
        1000, "N", quantities.at_least(1), "limits",
        "messages a second, on average, that one client may send; like the next two per token and gateway, and not "
        "for the owner on the Unix socket",
    )  # fmt: skip
    client_streams: int = _setting(
        100, "N", quantities.at_least(1), "limits",
        "streams and waiting calls that one client may have open",
    )  # fmt: skip
    client_in_flight_bytes: int = _setting(
        64 << 20, "SIZE", quantities.size_bytes(1 << 20, 64 << 30), "limits",
        "bytes of requests that one client may have under way", shown="64MiB",
    )  # fmt: skip
    owner_streams: int = _setting(
        10_000, "N", quantities.at_least(1), "limits",
        "streams and waiting calls on the Unix socket, all its clients together; each takes about 25 KiB",
    )  # fmt: skip
    keep_read_sec: float = _setting(
        24 * 3600.0, "TIME", quantities.duration_sec, "retention",
        "read and expired messages older than this are deleted; unread ones never are", shown="24h",
        reloadable=True,
    )  # fmt: skip
    sweep_every_sec: float = _setting(
        60.0, "TIME", quantities.duration_sec, "retention",
        "how often what is past its time is looked for", shown="60s",
        reloadable=True,
    )  # fmt: skip
    forget_agents_sec: float = _setting(
        30 * 24 * 3600.0, "TIME", quantities.duration_sec, "retention",
        "an agent that was not here for this long, and has no mail, is forgotten", shown="30d",
        reloadable=True,
    )  # fmt: skip
    table_bytes: int = _setting(
        64 << 20, "SIZE", quantities.size_bytes(8 << 20, 64 << 30), "memory",
        "shared memory for recent messages; what no longer fits is read from the database", shown="64MiB",
    )  # fmt: skip
    table_mailboxes: int = _setting(
        131_072, "N", quantities.at_least(1), "memory",
        "mailboxes whose counters are kept in shared memory; those beyond are read from the database",
    )  # fmt: skip
    log_level: str = _setting(
        "info", "LEVEL", quantities.one_of("debug", "info", "warning", "error"), "log",
        "the least that is logged: debug, info, warning or error", reloadable=True,
    )  # fmt: skip
    log_format: str = _setting(
        "auto", "FORMAT", quantities.one_of("auto", "console", "json"), "log",
        "console, json, or auto: colours in a terminal, text with priorities in the journal, else JSON lines",
        reloadable=True,
    )  # fmt: skip
    metrics: str = _setting(
        "", "HOST:PORT", quantities.none_or(quantities.loopback_address, ""), "observation",
        "serve metrics for Prometheus on http://HOST:PORT/metrics, loopback only", shown="none",
    )  # fmt: skip
    trace: str = _setting(
        "", "WHERE", quantities.none_or(quantities.trace_target, ""), "observation",
        "trace sends with OpenTelemetry: http://HOST:PORT/v1/traces (OTLP), or file:PATH; needs mailroomd[tracing]",
        shown="none",
    )  # fmt: skip


def settings_table() -> tuple[Setting, ...]:
    """Returns the rows in the order of their declaration."""
    return tuple(Setting(field=declared.name, **declared.metadata) for declared in fields(Settings))
