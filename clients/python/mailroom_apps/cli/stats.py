"""`mailroom stats` — message counts by mailbox."""

__all__ = ["stats"]

from mailroom.stats import MailboxStats

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import format_age, format_ago
from mailroom_apps.cli.options import Address, Json, MaybeAgent
from mailroom_apps.cli.output import emit_json, emit_note, emit_table
from mailroom_apps.printable import printable_line

_HEADERS = ("AGENT", "UNREAD", "TOTAL", "OLDEST UNREAD", "WATCHING", "LAST SEEN")


def stats(agent: MaybeAgent = None, json: Json = False, address: Address = None) -> None:
    """Count the messages of each mailbox. Works even while the mailbox worker is busy."""
    with connect(address) as client:
        mailboxes = client.stats(agent)
    if json:
        for mailbox in mailboxes:
            emit_json(mailbox.to_dict())
    elif any(map(_was_used, mailboxes)):
        emit_table(_HEADERS, [_row(mailbox) for mailbox in mailboxes])
    else:
        emit_note(f"no mailbox of {agent} yet" if agent else "no mailbox yet")


def _was_used(mailbox: MailboxStats) -> bool:
    """Returns whether the mailbox was ever used: the daemon returns zeros for an unknown name."""
    return bool(mailbox.total or mailbox.unread or mailbox.subscribers or mailbox.last_seen)


def _row(mailbox: MailboxStats) -> tuple[str, ...]:
    return (
        printable_line(mailbox.agent_id),
        str(mailbox.unread),
        str(mailbox.total),
        format_age(mailbox.oldest_unread_age_sec) if mailbox.unread else "-",
        str(mailbox.subscribers),
        format_ago(mailbox.last_seen),
    )
