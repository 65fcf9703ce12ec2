"""Notices — what a hook tells the daemon: that mail was handed over, and which agent a session belongs to.

The only part of the hook that loads gRPC. Nothing here may fail the hook: mail that was shown is shown, whether the
daemon knows or not; it stays FILED for its sender until it is read.
"""

__all__ = ["TIMEOUT_SEC", "announce_session", "report_offered"]

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mailroom_apps.hooks.inbox_file import InboxFile

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

TIMEOUT_SEC = 4.0  # the session waits for its hook; a healthy daemon answers within milliseconds on an idle machine


def report_offered(letters: Iterable[InboxFile], address: str | None) -> str:
    """Tells the daemon that messages were handed over; returns what went wrong, or ""."""
    by_mailbox: dict[str, list[str]] = defaultdict(list)
    for letter in letters:
        by_mailbox[letter.mailbox].append(letter.id)

    def tell(client: "Mailroom") -> None:
        for mailbox, ids in by_mailbox.items():
            client.mark_offered(mailbox, ids)

    return _call(tell, address)


def announce_session(agent: str, session: str, address: str | None) -> str:
    """Tells the daemon that a session is an agent's; returns what went wrong, or ""."""
    return _call(lambda client: client.set_alias(agent, session), address)


def _call(act: "Callable[[Mailroom], object]", address: str | None) -> str:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log lines would become part of the hook's output
    from mailroom.blocking import Mailroom
    from mailroom.errors import MailroomError

    try:
        with Mailroom(address, timeout=TIMEOUT_SEC, grace=0.0) as client:
            act(client)
    except (MailroomError, OSError) as error:
        return str(error)
    return ""
