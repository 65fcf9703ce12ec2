"""DaemonCalls — what a hook tells the daemon: which messages were offered, and whose session this is.

The only part of the hook that loads gRPC. Nothing here may fail the hook: mail that was shown is shown whether or not
the daemon knows. Until it does, the sender sees the message as filed.
"""

__all__ = ["TIMEOUT_SEC", "needs_alias", "report_shown", "set_alias"]

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mailroom.inbox_file import InboxFile

from mailroom_apps.hooks.event import HookEvent

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

    from mailroom_apps.hooks.report import Report

TIMEOUT_SEC = 4.0  # the session waits for its hook; a healthy daemon on an idle machine answers within milliseconds


def needs_alias(event: HookEvent, messages: Iterable[InboxFile]) -> bool:
    """Returns whether a session was shown mail of its own mailbox, which its agent's tools see only through the alias.

    The alias may be missing: its time to live is a day, and the daemon may have been down when the session started.
    """
    return event.has_own_mailbox and any(message.mailbox == event.session for message in messages)


def report_shown(event: HookEvent, shown: "Report", address: str | None) -> str:
    """Tells the daemon which messages were shown whole, and renews the session's alias if its own mail was shown.

    One that was cut is not offered yet: tools that return what is new return it, too.

    Returns:
        An error sentence, or "".
    """
    by_mailbox: dict[str, list[str]] = defaultdict(list)
    for message in shown.whole:
        by_mailbox[message.mailbox].append(message.id)

    def report(client: "Mailroom") -> None:
        for mailbox, ids in by_mailbox.items():
            client.mark_offered(mailbox, ids)
        if needs_alias(event, shown.messages):
            client.set_alias(event.agent, event.session)

    return _call(report, address)


def set_alias(agent: str, session: str, address: str | None) -> str:
    """Makes a session's id an alias of its agent; returns an error sentence, or ""."""
    return _call(lambda client: client.set_alias(agent, session), address)


def _call(act: "Callable[[Mailroom], object]", address: str | None) -> str:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log lines would become part of the hook's output
    from mailroom.blocking import Mailroom
    from mailroom.errors import MailroomError

    try:
        with Mailroom(address, timeout=TIMEOUT_SEC, grace=0.0) as client:
            act(client)
    except (MailroomError, OSError, RuntimeError) as error:  # RuntimeError: there is no home directory to look in
        return str(error)
    return ""
