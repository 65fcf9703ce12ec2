"""Connection — how commands get their client; gRPC is imported only when one is opened."""

__all__ = ["complete_agent", "connect", "use_access", "use_address"]

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mailroom.cli.names import login_name

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom
    from mailroom.options import AccessOptions

COMPLETION_TIMEOUT_SEC = 0.5  # a shell that hangs after Tab is worse than no suggestion


_address_of_run: ContextVar[str | None] = ContextVar("address of this run", default=None)
_access_of_run: ContextVar["AccessOptions | None"] = ContextVar("access of this run", default=None)


def use_address(address: str | None) -> None:
    """Makes an address the default of this run; None leaves it to be found."""
    _address_of_run.set(address)


def use_access(access: "AccessOptions") -> None:
    """Makes these credentials the default of this run; what is None is left to be found."""
    _access_of_run.set(access)


def connect(address: str | None = None, *, timeout: float = 30.0, grace: float = 2.0) -> "Mailroom":
    """Returns a client that sends under MAILROOM_AGENT, else under the login user's name."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log lines would end up between ours
    from mailroom.blocking import Mailroom

    sender = os.environ.get("MAILROOM_AGENT") or login_name()
    access = _access_of_run.get() or {}
    return Mailroom(address or _address_of_run.get(), sender=sender, timeout=timeout, grace=grace, **access)


def complete_agent(incomplete: str) -> list[str]:
    """Returns known agents that begin so, for the shell; none when the daemon does not answer at once."""
    from mailroom.errors import MailroomError

    try:
        with connect(timeout=COMPLETION_TIMEOUT_SEC, grace=0.0) as client:
            names = [stats.agent_id for stats in client.stats()]
    except (MailroomError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]
