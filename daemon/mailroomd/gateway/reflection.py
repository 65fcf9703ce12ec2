"""Reflection — tells callers with a token, and the owner, what the contract is.

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


class Reflection:
    """The servicer of reflection, behind the guard.

    Args:
        services: full names of the services that are told of.
        guard: what each call passes.
    """

    def __init__(self, services: tuple[str, ...], guard: RequestGuard) -> None:
        self._standard: Any = cast("Any", reflection).aio.ReflectionServicer(service_names=services)
        self._guard = guard

    async def ServerReflectionInfo(  # noqa: N802 - as the contract calls it
        self, requests: AsyncIterator[Any], context: Context
    ) -> AsyncGenerator[Any, None]:
        """Answers each question of a stream."""
        try:
            with self._guard.streaming(self._guard.authenticate("ServerReflectionInfo", context)):
                async for answer in self._standard.ServerReflectionInfo(requests, context):
                    yield answer
        except MailroomError as error:
            await refuse(context, error)
