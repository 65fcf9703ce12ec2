"""Connection — how commands get their client; gRPC is imported only when one is opened."""

__all__ = ["chosen_address", "complete_agent", "connect", "use_address"]

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mailroom.cli.names import login_name

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

COMPLETION_TIMEOUT_SEC = 0.5  # a shell that hangs after Tab is worse than no suggestion


_address_of_run: ContextVar[str | None] = ContextVar("address of this run", default=None)


def use_address(address: str | None) -> None:
    """Makes an address the default of this run; None leaves it to be found."""
    _address_of_run.set(address)


def chosen_address() -> str | None:
    """Returns the default address of this run, None if it is left to be found."""
    return _address_of_run.get()


def connect(address: str | None = None, *, timeout: float = 30.0, grace: float = 2.0) -> "Mailroom":
    """Returns a client that sends under MAILROOM_AGENT, else under the login user's name."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log lines would end up between ours
    from mailroom.blocking import Mailroom

    sender = os.environ.get("MAILROOM_AGENT") or login_name()
    return Mailroom(address or chosen_address(), sender=sender, timeout=timeout, grace=grace)


def complete_agent(incomplete: str) -> list[str]:
    """Returns known agents that begin so, for the shell; none when the daemon does not answer at once."""
    from mailroom.errors import MailroomError

    try:
        with connect(timeout=COMPLETION_TIMEOUT_SEC, grace=0.0) as client:
            names = [stats.agent_id for stats in client.stats()]
    except (MailroomError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]
