"""LiveView — `watch` in a terminal: messages scroll, and the unread counts stay below them.

Owns the lower part of the screen and the thread that updates the counts: after each event, and periodically, because
other programs read messages too. The text above is the same as in a pipe.
Invariant: however its block ends, the terminal is restored.
"""

__all__ = ["LiveView"]

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mailroom.errors import MailroomError
from mailroom.events import Event
from mailroom.stats import MailboxStats
from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from mailroom_apps.cli.durations import format_age
from mailroom_apps.cli.rendering import GAP, render_event
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

REFRESH_SEC = 5.0  # without any event
MIN_PAUSE_SEC = 0.25  # between two updates, however many events arrive
PAUSE_FACTOR = 4.0  # times the duration of the last update, so that many mailboxes do not keep the daemon busy
COUNT_TIMEOUT_SEC = 2.0
MAX_MAILBOXES = 10  # below the messages, which need the space


class LiveView:
    """The terminal view of one mailbox, or of every mailbox if `agent` is None."""

    def __init__(self, client: "Mailroom", agent: str | None, console: Console | None = None) -> None:
        self._client = client
        self._agent = agent
        self._console = console or Console(highlight=False)
        self._mailboxes: Sequence[MailboxStats] = ()
        self._connected = False
        self._changed, self._ended = threading.Event(), threading.Event()
        self._live = Live(console=self._console, get_renderable=self._render, auto_refresh=False, transient=True)
        self._updater = threading.Thread(target=self._update_counts, name="unread counts", daemon=True)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        self._updater.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._changed.set()
        self._live.stop()

    def show_event(self, event: Event) -> None:
        """Prints an event above the counts."""
        self._console.print(Text.from_ansi(render_event(event)))
        self._changed.set()

    def show_interruption(self, error: MailroomError) -> None:
        """Reports that the connection to the daemon was lost."""
        self._connected = False
        self._console.print(Text(f"connection lost ({printable_line(error.message)})", style="yellow"))
        self._live.refresh()

    def show_caught_up(self, *, gap: bool) -> None:
        """Records that every earlier event that the daemon still has was shown."""
        if gap:
            self._console.print(Text(GAP, style="yellow"))
        self._connected = True
        self._changed.set()

    def _update_counts(self) -> None:
        while not self._ended.is_set():
            started_sec = time.monotonic()
            try:
                self._mailboxes = self._client.stats(self._agent, timeout=COUNT_TIMEOUT_SEC)
            except MailroomError:  # the subscription reports it
                pass
            else:
                self._live.refresh()
            self._ended.wait(MIN_PAUSE_SEC + PAUSE_FACTOR * (time.monotonic() - started_sec))
            self._changed.wait(REFRESH_SEC)
            self._changed.clear()

    def _render(self) -> Group:
        unread = sorted((m for m in self._mailboxes if m.unread), key=lambda m: (-m.unread, m.agent_id))
        state = Text("watching", style="green") if self._connected else Text("waiting for the daemon", style="yellow")
        total = sum(mailbox.unread for mailbox in unread)
        agent = f"{printable_line(self._agent)}: " if self._agent else ""
        head = Text.assemble(agent, (f"{total} unread", "bold"), "  ", state, "  ", ("Ctrl-C to quit", "dim"))
        lines = [] if self._agent else [_mailbox_line(mailbox) for mailbox in unread[:MAX_MAILBOXES]]
        if not self._agent and len(unread) > MAX_MAILBOXES:
            lines.append(Text(f"  and {len(unread) - MAX_MAILBOXES} more mailboxes", style="dim"))
        return Group(Rule(style="dim"), head, *lines)


def _mailbox_line(mailbox: MailboxStats) -> Text:
    age = format_age(mailbox.oldest_unread_age_sec)
    return Text(f"  {printable_line(mailbox.agent_id)}  {mailbox.unread} unread, oldest {age}")
