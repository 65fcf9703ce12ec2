"""Failures — converts a gRPC error and its google.rpc details to a MailroomError.

Source of the format: google/rpc/error_details.proto, carried in the trailer grpc-status-details-bin.
"""

__all__ = ["error_from_rpc"]

from collections.abc import Callable
from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from grpc_status import rpc_status

from mailroom.errors import MailroomError, TlsFailed, error_of

_from_call = cast(
    "Callable[[grpc.RpcError], status_pb2.Status | None]",
    rpc_status.from_call,  # pyright: ignore[reportUnknownMemberType]
)

# How gRPC words a failed handshake; observed with grpcio 1.85.
_HANDSHAKE_ERRORS = {
    "CERTIFICATE_VERIFY_FAILED": "The daemon's certificate has expired or was not issued by a trusted authority. "
    "Check MAILROOM_TLS_CA.",
    "Hostname Verification Check": "The daemon's certificate does not cover this address. Use a host name or an IP "
    "address that the certificate lists.",
    "WRONG_VERSION_NUMBER": "The daemon does not use TLS at this address. Unset MAILROOM_TLS_CA, or start the daemon "
    "with --tls-cert.",
}
_UNIMPLEMENTED = "The daemon does not support this call: it is older than this client. Restart it after an upgrade."


def error_from_rpc(error: grpc.RpcError) -> MailroomError:
    """Returns the typed error; the caller raises it `from` the gRPC error."""
    code = error.code().name
    for marker, message in _HANDSHAKE_ERRORS.items():
        if code == "UNAVAILABLE" and marker in (error.details() or ""):
            return TlsFailed(message)
    details = _details(error)
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in details.details:
        _ = detail.Unpack(info) or detail.Unpack(request) or detail.Unpack(retry)
    return error_of(
        code,
        _UNIMPLEMENTED if code == "UNIMPLEMENTED" else error.details() or f"the daemon returned {code}",
        reason=info.reason,
        field=next((violation.field for violation in request.field_violations), None),
        retry_after_sec=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
    )


def _details(error: grpc.RpcError) -> status_pb2.Status:
    try:
        return _from_call(error) or status_pb2.Status()
    except (ValueError, DecodeError):  # details that contradict the status are ignored
        return status_pb2.Status()
