"""Caller — who makes a call, as far as the daemon can know it.

Owns the roles. `auth.authentication` finds out who a caller is; `auth.access` decides what it may do.
Invariant: only a caller with an agent's token is verified as that agent. The owner may use any name and proves none.
"""

__all__ = ["OWNER", "Caller", "Context", "Role"]

from dataclasses import dataclass
from enum import Enum
from typing import Any

Context = Any  # grpc.aio.ServicerContext: its stubs want message types where the handlers here work on bytes


class Role(Enum):
    """What a caller can be."""

    OWNER = "owner"  # on the Unix socket, which only the daemon's own user can reach
    ADMIN = "admin"  # an administrator's token
    AGENT = "agent"  # an agent's token
    ANONYMOUS = "anonymous"  # TCP without a token


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller.

    Attributes:
        role: what it is.
        client: the name under which its limits are counted: a token's id, an address, or "owner".
        agent: the agent's name for `Role.AGENT`, "" for other roles.
        token: the text of its token, kept to check it again while a stream or a wait lasts; never shown.
    """

    role: Role
    client: str
    agent: str = ""
    token: str = ""

    @property
    def is_verified(self) -> bool:
        """Whether the caller has proved the name under which it sends; `auth.access` allows it no other."""
        return self.role is Role.AGENT

    def __repr__(self) -> str:
        return f"Caller({self.role.value}, {self.client}{self.agent and ', ' + self.agent})"


OWNER = Caller(Role.OWNER, "owner")
