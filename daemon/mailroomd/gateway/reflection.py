"""Reflection — describes the contract to the owner and to callers with a token.

Source: the standard service grpc.reflection.v1alpha, whose servicer does the work.
"""

__all__ = ["Reflection"]

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from grpc_reflection.v1alpha import reflection

from mailroomd.auth.caller import Context
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.status import refuse
from mailroomd.model.errors import MailroomError

_RPC = "ServerReflectionInfo"


class Reflection:
    """The reflection servicer, behind the request guard.

    Args:
        services: full names of the services to describe.
        guard: checks each call.
    """

    def __init__(self, services: tuple[str, ...], guard: RequestGuard) -> None:
        self._servicer: Any = cast("Any", reflection).aio.ReflectionServicer(service_names=services)
        self._guard = guard

    async def ServerReflectionInfo(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[Any], context: Context
    ) -> AsyncGenerator[Any, None]:
        """Answers each request of a stream."""
        try:
            caller = self._guard.authenticate(_RPC, context)
            with self._guard.admit_stream(caller):
                async for response in self._servicer.ServerReflectionInfo(requests, context):
                    self._guard.check_still_allowed(_RPC, caller, None)
                    yield response
        except MailroomError as error:
            await refuse(context, error)
