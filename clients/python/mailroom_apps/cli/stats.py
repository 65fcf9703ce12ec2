"""`mailroom stats` — counts per mailbox."""

__all__ = ["stats"]

from mailroom.stats import MailboxStats

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import format_age, format_ago
from mailroom_apps.cli.options import Address, Json, MaybeAgent
from mailroom_apps.cli.output import emit_json, emit_table, remark
from mailroom_apps.printable import printable_line

_HEADERS = ("AGENT", "UNREAD", "TOTAL", "OLDEST UNREAD", "WATCHING", "LAST SEEN")


def stats(
    agent: MaybeAgent = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Counts messages per mailbox; answers even while the mailbox worker is busy."""
    with connect(address) as client:
        mailboxes = client.stats(agent)
    if json:
        for mailbox in mailboxes:
            emit_json(mailbox.to_dict())
    elif any(map(_exists, mailboxes)):
        emit_table(_HEADERS, [_row(mailbox) for mailbox in mailboxes])
    else:
        remark(f"no mailbox of {agent} yet" if agent else "no mailbox yet")


def _exists(mailbox: MailboxStats) -> bool:
    """Returns whether anything ever happened here: the daemon answers for any name, with zeros for one it never met."""
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
