"""Rpc — one row of the table of RPCs: what the gateway knows about one RPC beside the contract.

Owns what follows from the contract: path, kind, type of the request. The rows themselves are in `gateway.rpcs`; the
guard reads them. Invariant: a row names an RPC that the contract has.
"""

__all__ = ["Rpc", "message_cost"]

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from mailroomd.auth.access import Rule
from mailroomd.gateway.call import Call
from mailroomd.gateway.client_limits import MAX_REQUEST_BYTES
from mailroomd.gateway.request_decoding import decode
from mailroomd.gateway.request_types import received_type
from mailroomd.model.errors import MailroomError, Reason

RATED_BYTES = 16 << 10  # of one message; a larger one counts for several: a client must not fill the disk with a few


def message_cost(count: int, size_bytes: int) -> int:
    """Returns what messages of a size in all count for: one for each, and one more for each 16 KiB of them."""
    return count + size_bytes // RATED_BYTES


@dataclass(frozen=True)
class Rpc:
    """One row.

    Attributes:
        service: the descriptor of the RPC's service.
        name: the RPC's name.
        rule: who may make the call.
        method: the method that handles it, as an attribute of its class. It takes what `parse` returns, and the call
            (`gateway.interceptor` has its forms).
        parse: converts and checks a decoded request, and returns what the method needs; raises `MailroomError`. None
            if there is nothing to check.
        cost: returns what a request, of a size in bytes, counts for towards the rate of its client (`message_cost`).
        waits: returns whether a request that is answered once waits as a stream does, and counts as one.
        is_refused_at_stop: new work, which is refused while the daemon stops.
        writes_encoded: the responses of its stream are encoded already, since many streams share them.
        served_as: the name of the service on the wire, where it is not the one of the contract.
        max_request_bytes: the size of the largest request, encoded.
    """

    service: ServiceDescriptor
    name: str
    rule: Rule
    method: Callable[..., Any]
    parse: Callable[[Any, Call], Awaitable[Any]] | None = None
    cost: Callable[[Any, int], int] | None = None
    waits: Callable[[Any], bool] | None = None
    is_refused_at_stop: bool = False
    writes_encoded: bool = False
    served_as: str = ""
    max_request_bytes: int = MAX_REQUEST_BYTES

    @cached_property
    def contract(self) -> MethodDescriptor:
        """The RPC as the contract describes it."""
        return self.service.methods_by_name[self.name]

    @cached_property
    def service_name(self) -> str:
        """The full name of the service on the wire."""
        return self.served_as or self.service.full_name

    @cached_property
    def path(self) -> str:
        """The path by which clients call the RPC."""
        return f"/{self.service_name}/{self.name}"

    @cached_property
    def request_type(self) -> type[Message]:
        """The type of its request, as it is received."""
        return received_type(self.contract.input_type)

    async def decode(self, encoded: bytes) -> Message:
        """Returns a decoded request.

        Raises:
            MailroomError: it is too large, or not such a request.
        """
        if len(encoded) > self.max_request_bytes:
            sentence = (
                f"a request of {self.name} has at most {self.max_request_bytes:,} bytes; this one has {len(encoded):,}"
            )
            raise MailroomError(Reason.REQUEST_MALFORMED, sentence)
        return await decode(self.request_type, encoded)
