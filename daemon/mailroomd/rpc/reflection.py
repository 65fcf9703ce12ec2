"""Reflection — tells callers with a token, and the owner, what the contract is.

Source: the standard service grpc.reflection.v1alpha, whose servicer does the work.
"""

__all__ = ["Reflection"]

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from grpc_reflection.v1alpha import reflection

from mailroomd.model.errors import MailroomError
from mailroomd.rpc.caller import Context
from mailroomd.rpc.gate import Gate
from mailroomd.rpc.status import refuse


class Reflection:
    """The servicer of reflection, behind the gate.

    Args:
        services: full names of the services that are told of.
        gate: what each call passes.
    """

    def __init__(self, services: tuple[str, ...], gate: Gate) -> None:
        self._standard: Any = cast("Any", reflection).aio.ReflectionServicer(service_names=services)
        self._gate = gate

    async def ServerReflectionInfo(  # noqa: N802 - as the contract calls it
        self, requests: AsyncIterator[Any], context: Context
    ) -> AsyncGenerator[Any, None]:
        """Answers each question of a stream."""
        try:
            with self._gate.streaming(self._gate.knock("ServerReflectionInfo", context)):
                async for answer in self._standard.ServerReflectionInfo(requests, context):
                    yield answer
        except MailroomError as error:
            await refuse(context, error)
