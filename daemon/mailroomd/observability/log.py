"""log — the log of a process: structured lines on standard error, each written in one piece.

Owns structlog's configuration: JSON lines, aligned colors in a terminal, text with priorities in the journal (see
`observability.journal`). Use it as `from mailroomd.observability.log import log`, `log.info("ready", pid=7)`. An event
is a short lower-case phrase; everything that varies is a field. These fields are on every line:

    process     the name of the process: supervisor, command-queue, mailbox, gateway, gateway-1, metrics
    level       debug, info, warning or error
    timestamp   ISO 8601 in UTC; absent in the journal, which adds its own
    event       what happened

These fields have the same meaning wherever they occur:

    message_id  a message's id as 16 hexadecimal digits
    mailbox     the name of a mailbox; sender, recipient, agent, session: names as well
    request     the idempotency key of a send, or the request key that the gateway made
    worker      the name of another process; with pid, epoch (its start number) and last_exit (how it ended)
    path        a file or directory
    error       the reason, as a sentence or as errno's text; exception: a traceback
    next_step   what the daemon does about it, or cannot do

structlog is imported with the first line that is logged: it costs 65 ms and 13 MB per process (120 ms and 18 MB with
rich, which it would import as well), and a healthy worker logs nothing.
Invariants: one event is one entry. Whatever its fields contain, it cannot look like two; only a traceback has further
lines, which are indented. Logging never stops the daemon: when standard error is gone, lines are lost; without free
descriptors or memory they are written as plain JSON.
"""

__all__ = ["configure_log", "log", "print_error"]

import json
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partialmethod
from typing import Any

from mailroomd.observability.escaping import escape, escape_json
from mailroomd.observability.journal import is_journal, prefixed

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_STDERR = 2


class _LineWriter:
    """structlog's output: one write(2) per line, so that the lines of several processes do not mix."""

    def __init__(self, *_: object) -> None:
        """Accepts structlog's arguments for a logger factory and ignores them."""

    def _write(self, line: str) -> None:
        with suppress(OSError):  # a closed terminal
            os.write(_STDERR, line.encode(errors="backslashreplace") + b"\n")

    debug = info = warning = error = exception = msg = _write


class _JournalWriter(_LineWriter):
    """The same for the journal: each line carries its priority."""

    def _write_prefixed(self, level: str, line: str) -> None:
        self._write(prefixed(line, level))

    debug = partialmethod(_write_prefixed, "debug")
    info = partialmethod(_write_prefixed, "info")
    warning = partialmethod(_write_prefixed, "warning")
    error = partialmethod(_write_prefixed, "error")


class Log:
    """The log of this process. Before `configure_log` its process is "?" and its level is info."""

    def __init__(self) -> None:
        self._process, self._level, self._format = "?", "info", "auto"
        self._logger: Any = None

    def configure(self, process: str, level: str, form: str) -> None:
        """Sets the process name, the lowest level to log, and the format (auto, console, json); cheap."""
        self._process, self._level, self._format = process, level, form
        self._logger = None

    @property
    def is_debugging(self) -> bool:
        """Whether `debug` writes anything; code on the path of every message checks it before it builds the fields."""
        return self._level == "debug"

    def debug(self, event: str, **fields: object) -> None:
        """Logs what only a developer needs."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Logs what an operator may want to know later."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Logs a problem that resolves itself."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Logs a problem that an operator has to resolve."""
        self._write("error", event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """Logs an error with the traceback of the exception that is being handled."""
        self._write("error", event, {**fields, "exc_info": True})

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if _LEVELS[level] < _LEVELS[self._level]:
            return
        try:
            if self._logger is None:
                self._logger = self._open()
            getattr(self._logger, level)(event, **fields)
        except Exception:  # noqa: BLE001 - without descriptors or memory, structlog's import may raise anything
            with suppress(Exception):  # a line that cannot be written that way either is lost
                _write_plain(self._process, level, event, fields)

    def _open(self) -> Any:
        structlog = _import_structlog()
        processors = structlog.processors
        in_journal = is_journal()
        if self._format == "auto" and in_journal:
            renderers = [processors.format_exc_info, _render_text]
        elif self._format == "console" or (self._format == "auto" and os.isatty(_STDERR)):
            console = structlog.dev.ConsoleRenderer(
                colors=os.isatty(_STDERR) and not os.environ.get("NO_COLOR"),
                exception_formatter=structlog.dev.plain_traceback,
            )
            renderers = [processors.format_exc_info, _escape_values, console]
        else:
            renderers = [processors.format_exc_info, processors.JSONRenderer(_dump_json)]
        structlog.configure(
            processors=[
                processors.add_log_level,
                processors.TimeStamper(fmt="iso", utc=True),
                *renderers,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[self._level]),
            logger_factory=_JournalWriter if in_journal else _LineWriter,
            cache_logger_on_first_use=True,
        )
        return structlog.get_logger(process=self._process)


log = Log()


def configure_log(process: str, level: str = "info", form: str = "auto") -> None:
    """Sets this process's name, level and format for the log; every process calls it first."""
    log.configure(process, level, form)


def print_error(sentence: str) -> None:
    """Prints a sentence for the user on standard error, in one line; with a priority in the journal."""
    text = escape(f"mailroomd: {sentence}")
    print(prefixed(text, "error") if is_journal() else text, file=sys.stderr, flush=True)


def _write_plain(process: str, level: str, event: str, fields: dict[str, object]) -> None:
    """Writes a line as JSON without structlog; a current exception becomes one field."""
    error, timestamp = sys.exc_info()[1], datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = {"process": process, **fields, "event": event, "level": level, "timestamp": timestamp}
    text = _dump_json(line | {"without_structlog": repr(error)})
    with suppress(OSError):
        os.write(_STDERR, (prefixed(text, level) if is_journal() else text).encode(errors="backslashreplace") + b"\n")


def _render_text(_: object, __: str, fields: dict[str, Any]) -> str:
    """Renders a line for the journal: the process, the event, the other fields; the journal knows level and time."""
    process, event = fields.pop("process", "?"), fields.pop("event", "")
    traceback = fields.pop("exception", "")
    for name in ("level", "timestamp"):
        fields.pop(name, None)
    pairs = "".join(f" {name}={value!r}" for name, value in fields.items())
    return escape(f"{process}: {event}{pairs}") + (f"\n{_indented(traceback)}" if traceback else "")


def _escape_values(_: object, __: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Escapes every text of an entry for the terminal."""
    escaped = {name: escape(value) if isinstance(value, str) else value for name, value in fields.items()}
    return escaped | ({"exception": _indented(fields["exception"])} if "exception" in fields else {})


def _indented(traceback: str) -> str:
    """Returns a traceback whose lines cannot be mistaken for entries."""
    return "\n".join(f"    {escape(line)}" for line in traceback.split("\n"))


def _dump_json(fields: dict[str, Any], **_: object) -> str:
    """Encodes a line with the standard module: orjson crashes when memory runs out."""
    return escape_json(json.dumps(fields, ensure_ascii=False, default=str))


def _import_structlog() -> Any:
    """Imports structlog without rich, which it would use for colored tracebacks."""
    hide_rich = "rich" not in sys.modules and "structlog" not in sys.modules
    if hide_rich:
        sys.modules["rich"] = None  # pyright: ignore[reportArgumentType] - makes `import rich` raise ImportError
    try:
        import structlog
    finally:
        if hide_rich:
            del sys.modules["rich"]
    return structlog
