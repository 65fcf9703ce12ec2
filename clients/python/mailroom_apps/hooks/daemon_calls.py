"""DaemonCalls — what a hook tells the daemon: which messages were offered, and whose session this is.

The only part of the hook that loads gRPC. Nothing here may fail the hook: mail that was shown is shown whether or not
the daemon knows. Until it does, the sender sees the message as filed.
"""

__all__ = ["TIMEOUT_SEC", "mark_offered", "set_alias"]

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mailroom.inbox_file import InboxFile

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

TIMEOUT_SEC = 4.0  # the session waits for its hook; a healthy daemon on an idle machine answers within milliseconds


def mark_offered(messages: Iterable[InboxFile], address: str | None) -> str:
    """Tells the daemon that messages were shown; returns an error sentence, or ""."""
    by_mailbox: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        by_mailbox[message.mailbox].append(message.id)

    def mark_each(client: "Mailroom") -> None:
        for mailbox, ids in by_mailbox.items():
            client.mark_offered(mailbox, ids)

    return _call(mark_each, address)


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
    except (MailroomError, OSError) as error:
        return str(error)
    return ""
