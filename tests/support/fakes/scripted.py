"""Refusal and StreamEnd — the failures that a test scripts for a FakeDaemon."""

__all__ = ["Context", "Refusal", "StreamEnd"]

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyProto
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Refusal:
    """One scripted failure of a call; with `after_doing` the call takes effect and only its response is lost."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    reason: str = "WORKER_RESTARTING"
    message: str = "the mailbox is restarting"
    field: str = ""
    retry_after_sec: float | None = None
    after_doing: bool = False

    async def abort(self, context: Context) -> None:
        await context.abort(self.code, self.message, (("grpc-status-details-bin", self._details()),))

    def _details(self) -> bytes:
        details: list[Any] = [error_details_pb2.ErrorInfo(reason=self.reason, domain="mailroom")] if self.reason else []
        if self.field:
            violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=self.message)
            details.append(error_details_pb2.BadRequest(field_violations=[violation]))
        if self.retry_after_sec is not None:
            delay = Duration()
            delay.FromTimedelta(timedelta(seconds=self.retry_after_sec))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in details:
            packed = AnyProto()
            packed.Pack(detail)
            status.details.append(packed)
        return status.SerializeToString()


class StreamEnd(Enum):
    """How a scripted stream ends."""

    UNAVAILABLE = auto()
    CANCELLED = auto()
    GOING_AWAY = auto()
    SILENTLY = auto()
