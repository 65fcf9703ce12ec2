"""Caller — who makes a call, as far as the mail room can know it.

Owns the roles. Who it is, is found out by `auth.authentication`; what it may do, by `auth.access`.
Invariant: only a caller with an agent's token is `verified` as that agent; an owner may use any name and proves none.
"""

__all__ = ["OWNER", "Caller", "Context", "Role", "caller_now", "calling"]

from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Any

Context = Any  # grpc.aio.ServicerContext, whose stubs want the types of what is bytes here


class Role(Enum):
    """What a caller can be."""

    OWNER = "owner"  # who reached the Unix socket, which only the daemon's own user can
    ADMIN = "admin"  # an administrator's token
    AGENT = "agent"  # an agent's token
    NOBODY = "nobody"  # TCP without a token


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller.

    Attributes:
        role: what it is.
        client: whose limits it shares: a token's id, an address, or the owner's.
        agent: who an agent is, "" for the other roles.
        token: the text of its token, to be checked again while a stream lasts; never shown.
    """

    role: Role
    client: str
    agent: str = ""
    token: str = ""

    @property
    def is_verified(self) -> bool:
        """Whether it has proved the name under which it sends: `auth.access` lets it use no other."""
        return self.role is Role.AGENT

    def __repr__(self) -> str:
        return f"Caller({self.role.value}, {self.client}{self.agent and ', ' + self.agent})"


OWNER = Caller(Role.OWNER, "owner")

calling: ContextVar[Caller] = ContextVar("calling", default=OWNER)
"""Who makes the call that the running task answers; `gateway.request_guard` sets it."""


def caller_now() -> Caller:
    """Returns who makes the call that is being answered."""
    return calling.get()
