"""Status — the one table from an error's reason to a gRPC status, and the one function that ends a call with an error.

Owns codes and details. Every refusal carries google.rpc.ErrorInfo (reason, domain "mailroom"); BadRequest if a field is
at fault; RetryInfo if a retry can succeed. Above: the servicers, which raise `MailroomError`.
Source of the details' format: google/rpc/error_details.proto, in the trailer `grpc-status-details-bin`.
"""

__all__ = ["DOMAIN", "code_of", "refusals", "refuse", "status_of"]

from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from mailroomd.model.errors import MailroomError, Reason
from mailroomd.observability.metrics import REFUSALS
from mailroomd.observability.metrics_block import MetricsBlock

DOMAIN = "mailroom"
_DETAILS_KEY = "grpc-status-details-bin"

_CODES: dict[Reason, grpc.StatusCode] = {  # of the reasons that do not mean INVALID_ARGUMENT
    Reason.IDEMPOTENCY_KEY_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Reason.MESSAGE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.ALIAS_CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TOO_MANY_ALIASES: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.MAILBOX_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.STORAGE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_WAITING: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.LOOP_GUARD: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.STORAGE_FAILED: grpc.StatusCode.UNAVAILABLE,
    Reason.WORKER_RESTARTING: grpc.StatusCode.UNAVAILABLE,
    Reason.STOPPING: grpc.StatusCode.UNAVAILABLE,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.TOKEN_MISSING: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_INVALID: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_EXPIRED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.NOT_YOURS: grpc.StatusCode.PERMISSION_DENIED,
    Reason.ADMIN_ONLY: grpc.StatusCode.PERMISSION_DENIED,
    Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_STREAMS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_BYTES: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.HOST_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Reason.AGENT_ELSEWHERE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.HOST_BACKLOG_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class RefusalCounter:
    """Counts this gateway's refusals by reason. Until it is attached to the gateway's metrics, the counts are lost."""

    def __init__(self) -> None:
        self._metrics = MetricsBlock.private()

    def attach(self, metrics: MetricsBlock) -> None:
        """Counts in a worker's metrics from now on."""
        self._metrics = metrics

    def count_refusal(self, reason: Reason) -> None:
        """Counts one refusal."""
        self._metrics.count(REFUSALS.word(reason))


refusals = RefusalCounter()
"""The counter of this process; like the log there is one, since `refuse` belongs to no object."""


def code_of(reason: Reason) -> grpc.StatusCode:
    """Returns the gRPC code of a reason."""
    return _CODES.get(reason, grpc.StatusCode.INVALID_ARGUMENT)


def status_of(error: MailroomError) -> status_pb2.Status:
    """Returns an error as a google.rpc.Status with its details."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.sentence, reason=error.reason
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_ms:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(error.retry_after_ms)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code_of(error.reason).value[0], message=error.sentence)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def refuse(context: "grpc.aio.ServicerContext[Any, Any]", error: MailroomError) -> NoReturn:
    """Ends a call with the status of an error, and counts it."""
    refusals.count_refusal(error.reason)
    trailer = ((_DETAILS_KEY, status_of(error).SerializeToString()),)
    await context.abort(code_of(error.reason), error.sentence, trailer)
    raise AssertionError("abort raises")
