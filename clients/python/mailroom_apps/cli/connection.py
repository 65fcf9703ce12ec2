"""Connection — opens the client of a command. gRPC is imported only then."""

__all__ = ["chosen_address", "connect", "connect_async", "quiet_grpc", "require_own_name", "use_access", "use_address"]

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mailroom_apps.names import login_name

if TYPE_CHECKING:
    from mailroom.aio import AsyncMailroom
    from mailroom.blocking import Mailroom
    from mailroom.options import AccessOptions

_global_address: ContextVar[str | None] = ContextVar("--address before the command", default=None)
_global_access: ContextVar["AccessOptions | None"] = ContextVar("access options before the command", default=None)


def use_address(address: str | None) -> None:
    """Sets the default address of this run; None to locate the daemon."""
    _global_address.set(address)


def use_access(access: "AccessOptions") -> None:
    """Sets the credentials of this run; None values are taken from the environment."""
    _global_access.set(access)


def chosen_address(address: str | None) -> str | None:
    """Returns the address of the command, otherwise that of this run; None to locate the daemon."""
    return address or _global_address.get()


def quiet_grpc() -> None:
    """Turns off gRPC's own log lines. Must be called before gRPC is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def require_own_name(name: str) -> str:
    """Returns MAILROOM_AGENT's value, which must not be empty.

    Raises:
        InvalidArgument: it is empty, which is usually an unset variable of a script.
    """
    if name:
        return name
    from mailroom.errors import InvalidArgument

    raise InvalidArgument("MAILROOM_AGENT is empty: set it to an agent's name, or unset it", field="sender")


def connect(address: str | None = None, *, timeout: float = 30.0, grace: float = 2.0) -> "Mailroom":
    """Returns a client whose sender is MAILROOM_AGENT, otherwise the user's login name."""
    quiet_grpc()
    from mailroom.blocking import Mailroom

    sender = os.environ.get("MAILROOM_AGENT") or login_name()
    access = _global_access.get() or {}
    return Mailroom(chosen_address(address), sender=sender, timeout=timeout, grace=grace, **access)


def connect_async(sender: str, address: str | None = None, *, timeout: float = 30.0) -> "AsyncMailroom":
    """Returns a client for the running event loop; `timeout` in seconds, for one call with its retries."""
    quiet_grpc()
    from mailroom.aio import AsyncMailroom

    return AsyncMailroom(chosen_address(address), sender=sender, timeout=timeout, **(_global_access.get() or {}))
