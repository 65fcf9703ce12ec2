"""Connection — how commands get their client; gRPC is imported only when one is opened."""

__all__ = ["chosen_address", "connect", "quiet_grpc", "use_access", "use_address"]

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mailroom_apps.names import login_name

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom
    from mailroom.options import AccessOptions

_address_of_run: ContextVar[str | None] = ContextVar("address of this run", default=None)
_access_of_run: ContextVar["AccessOptions | None"] = ContextVar("access of this run", default=None)


def use_address(address: str | None) -> None:
    """Makes an address the default of this run; None leaves it to be found."""
    _address_of_run.set(address)


def use_access(access: "AccessOptions") -> None:
    """Makes these credentials the default of this run; what is None is left to be found."""
    _access_of_run.set(access)


def chosen_address(address: str | None) -> str | None:
    """Returns the command's own address, else that of this run; None: it is to be found."""
    return address or _address_of_run.get()


def quiet_grpc() -> None:
    """Keeps gRPC's log lines from ending up between ours; before it is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def connect(address: str | None = None, *, timeout: float = 30.0, grace: float = 2.0) -> "Mailroom":
    """Returns a client that sends under MAILROOM_AGENT, else under the login user's name."""
    quiet_grpc()
    from mailroom.blocking import Mailroom

    sender = os.environ.get("MAILROOM_AGENT") or login_name()
    access = _access_of_run.get() or {}
    return Mailroom(chosen_address(address), sender=sender, timeout=timeout, grace=grace, **access)
