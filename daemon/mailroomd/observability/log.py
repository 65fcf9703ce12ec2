"""log — the one log of a process: structured lines to standard error, each written whole.

Owns structlog's configuration: JSON lines, aligned colours in a terminal, text with priorities in the journal (see
`observability.journal`); fields `process` (the one name), `level`, `timestamp` (ISO 8601, UTC), `event`. Use it as
`from mailroomd.observability.log import log`, `log.info("restarted", pid=7)`. It is no module logger and has no handlers.
structlog is imported with the first line that is logged, not before: it costs 65 ms and 13 MB a process (120 ms and
18 MB with rich, which it would take along); a healthy worker is silent.
Invariant: logging never stops the daemon; when standard error is gone, lines are lost; without descriptors or memory
they are plain.
"""

__all__ = ["complain", "configure_log", "log"]

import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partialmethod
from typing import Any

import orjson

from mailroomd.observability.journal import is_journal, prefixed

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_STDERR = 2


class _Lines:
    """structlog's output: one write(2) a line, so that the lines of several processes do not mix."""

    def __init__(self, *_: object) -> None:
        """Takes structlog's arguments for a logger factory, and needs none."""

    def _write(self, line: str) -> None:
        with suppress(OSError):  # a terminal that was closed
            os.write(_STDERR, line.encode(errors="backslashreplace") + b"\n")

    debug = info = warning = error = exception = msg = _write


class _JournalLines(_Lines):
    """The same for the journal: each line carries its level."""

    def _write_prefixed(self, level: str, line: str) -> None:
        self._write(prefixed(line, level))

    debug = partialmethod(_write_prefixed, "debug")
    info = partialmethod(_write_prefixed, "info")
    warning = partialmethod(_write_prefixed, "warning")
    error = partialmethod(_write_prefixed, "error")


class Log:
    """What is logged through it goes to the process's log; before `configure_log`, as process "?" and from info on."""

    def __init__(self) -> None:
        self._process, self._level, self._format = "?", "info", "auto"
        self._logger: Any = None

    def configure(self, process: str, level: str, form: str) -> None:
        """Sets the process's name, the least level and the form (auto, console, json); cheap."""
        self._process, self._level, self._format = process, level, form
        self._logger = None

    @property
    def is_debugging(self) -> bool:
        """Whether `debug` writes anything: what is on every message's way asks before it makes the fields."""
        return self._level == "debug"

    def debug(self, event: str, **fields: object) -> None:
        """Logs what only a developer wants to know."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Logs what an operator may want to know later."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Logs what is wrong and mends itself."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Logs what an operator has to mend."""
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
        except (OSError, ImportError, MemoryError):  # of the import, where there is no descriptor or no memory left
            with suppress(MemoryError, TypeError):  # a name that is no text
                _write_plainly(self._process, level, event, fields)

    def _open(self) -> Any:
        structlog = _import_structlog()
        processors = structlog.processors
        in_journal = is_journal()
        if self._format == "auto" and in_journal:
            render = [processors.format_exc_info, _as_text]
        elif self._format == "console" or (self._format == "auto" and os.isatty(_STDERR)):
            render = [structlog.dev.ConsoleRenderer(colors=os.isatty(_STDERR) and not os.environ.get("NO_COLOR"))]
        else:
            render = [processors.format_exc_info, processors.JSONRenderer(ensure_ascii=False, default=str)]
        structlog.configure(
            processors=[
                processors.add_log_level,
                processors.TimeStamper(fmt="iso", utc=True),
                *render,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[self._level]),
            logger_factory=_JournalLines if in_journal else _Lines,
            cache_logger_on_first_use=True,
        )
        return structlog.get_logger(process=self._process)


log = Log()


def configure_log(process: str, level: str = "info", form: str = "auto") -> None:
    """Gives this process's log its name, its least level and its form; to be called once, first thing."""
    log.configure(process, level, form)


def complain(sentence: str) -> None:
    """Prints a sentence for the user on standard error: the last words of a daemon that cannot go on."""
    text = f"mailroomd: {sentence}"
    print(prefixed(text, "error") if is_journal() else text, file=sys.stderr, flush=True)


def _write_plainly(process: str, level: str, event: str, fields: dict[str, object]) -> None:
    """Writes a line without structlog, as JSON; an exception as its one line."""
    error = sys.exc_info()[1]
    line = {"process": process, **fields, "event": event, "level": level, "timestamp": datetime.now(UTC)}
    text = orjson.dumps(line | {"without_structlog": repr(error)}, default=str, option=orjson.OPT_UTC_Z).decode()
    with suppress(OSError):
        os.write(_STDERR, (prefixed(text, level) if is_journal() else text).encode(errors="backslashreplace") + b"\n")


def _as_text(_: object, __: str, fields: dict[str, Any]) -> str:
    """Renders a line for people: the process, the event, the other fields; the journal knows level and time."""
    process, event = fields.pop("process", "?"), fields.pop("event", "")
    traceback = fields.pop("exception", "")
    for known in ("level", "timestamp"):
        fields.pop(known, None)
    pairs = "".join(f" {name}={value!r}" for name, value in fields.items())
    return f"{process}: {event}{pairs}" + (f"\n{traceback}" if traceback else "")


def _import_structlog() -> Any:
    """Imports structlog without rich, which it uses for tracebacks in colour if it finds it."""
    hidden = "rich" not in sys.modules and "structlog" not in sys.modules
    if hidden:
        sys.modules["rich"] = None  # pyright: ignore[reportArgumentType] - an import of it raises ImportError then
    try:
        import structlog
    finally:
        if hidden:
            del sys.modules["rich"]
    return structlog
