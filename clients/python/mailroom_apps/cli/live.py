"""LiveView — `watch` in a terminal: messages scroll as always, and what is unread stays below them.

Owns the lower part of the screen and the thread that keeps its counts fresh: after each event, and now and then,
because others read mail without telling us. The text above is what `watch` prints in a pipe as well.
Invariant: however it ends, by Ctrl-C, SIGTERM or an error, the terminal is as it was.
"""

__all__ = ["LiveView"]

import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from mailroom.errors import MailroomError
from mailroom.events import Event
from mailroom.stats import MailboxStats
from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from mailroom_apps.cli.durations import format_age
from mailroom_apps.cli.rendering import render_event
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

REFRESH_SEC = 5.0  # without any event
PAUSE_SEC = 0.25  # between two counts, however many events come
CALM = 4.0  # times what the last count took, so that many mailboxes are not counted all the time
COUNT_TIMEOUT_SEC = 2.0
MAX_MAILBOXES = 10  # below the messages, which need the room


class LiveView:
    """What a terminal shows while it watches one mailbox, or all of them with `agent` None."""

    def __init__(self, client: "Mailroom", agent: str | None, console: Console | None = None) -> None:
        self._client = client
        self._agent = agent
        self._console = console or Console(highlight=False)
        self._mailboxes: Sequence[MailboxStats] = ()
        self._connected = False
        self._changed, self._ended = threading.Event(), threading.Event()
        self._live = Live(console=self._console, get_renderable=self._below, auto_refresh=False, transient=True)
        self._counter = threading.Thread(target=self._count, name="unread counts", daemon=True)
        self._on_sigterm: Any = None

    def __enter__(self) -> Self:
        self._on_sigterm = signal.signal(signal.SIGTERM, _terminate)
        self._live.start(refresh=True)
        self._counter.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._changed.set()
        self._live.stop()
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def show(self, event: Event) -> None:
        """Prints an event above the counts."""
        self._console.print(Text.from_ansi(render_event(event)))
        self._changed.set()

    def interrupted(self, error: MailroomError) -> None:
        """Says that the daemon went away."""
        self._connected = False
        self._console.print(Text(f"lost the daemon ({printable_line(error.message)})", style="yellow"))
        self._live.refresh()

    def caught_up(self) -> None:
        """Notes that everything up to now is on the screen."""
        self._connected = True
        self._changed.set()

    def _count(self) -> None:
        while not self._ended.is_set():
            began_sec = time.monotonic()
            try:
                self._mailboxes = self._client.stats(self._agent, timeout=COUNT_TIMEOUT_SEC)
            except MailroomError:  # the subscription says so
                pass
            else:
                self._live.refresh()
            self._ended.wait(PAUSE_SEC + CALM * (time.monotonic() - began_sec))
            self._changed.wait(REFRESH_SEC)
            self._changed.clear()

    def _below(self) -> Group:
        unread = sorted((m for m in self._mailboxes if m.unread), key=lambda m: (-m.unread, m.agent_id))
        state = Text("watching", style="green") if self._connected else Text("waiting for the daemon", style="yellow")
        total = sum(mailbox.unread for mailbox in unread)
        whose = f"{printable_line(self._agent)}: " if self._agent else ""
        head = Text.assemble(whose, (f"{total} unread", "bold"), "  ", state, "  ", ("Ctrl-C ends", "dim"))
        lines = [] if self._agent else [_line(mailbox) for mailbox in unread[:MAX_MAILBOXES]]
        if not self._agent and len(unread) > MAX_MAILBOXES:
            lines.append(Text(f"  and {len(unread) - MAX_MAILBOXES} more mailboxes", style="dim"))
        return Group(Rule(style="dim"), head, *lines)


def _line(mailbox: MailboxStats) -> Text:
    age = format_age(mailbox.oldest_unread_age_sec)
    return Text(f"  {printable_line(mailbox.agent_id)}  {mailbox.unread} unread, the oldest for {age}")


def _terminate(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
