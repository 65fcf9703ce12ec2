"""Failures — reads a gRPC error with its google.rpc details into a MailroomError.

Source of the format: google/rpc/error_details.proto, carried in the trailer grpc-status-details-bin.
"""

__all__ = ["failure_of"]

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

# How gRPC words that a handshake failed; found out with grpcio 1.85.
_HANDSHAKES = {
    "CERTIFICATE_VERIFY_FAILED": "the daemon's certificate is not vouched for by the authority that this client was "
    "given, or its time is over: see MAILROOM_TLS_CA",
    "Hostname Verification Check": "the daemon's certificate is for another name than the address: use an address that "
    "stands in it",
    "WRONG_VERSION_NUMBER": "no TLS is spoken at this address: leave MAILROOM_TLS_CA out, or start the daemon with "
    "--tls-cert",
}


_TOO_OLD = "the daemon does not know this call: it is older than this client, so restart it after an installation"


def failure_of(error: grpc.RpcError) -> MailroomError:
    """Returns the typed error; the caller raises it `from` this one."""
    code = error.code().name
    for mark, sentence in _HANDSHAKES.items():
        if code == "UNAVAILABLE" and mark in (error.details() or ""):
            return TlsFailed(sentence)
    details = _details(error)
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in details.details:
        _ = detail.Unpack(info) or detail.Unpack(request) or detail.Unpack(retry)
    return error_of(
        code,
        _TOO_OLD if code == "UNIMPLEMENTED" else error.details() or f"the daemon answered {code}",
        reason=info.reason,
        field=next((violation.field for violation in request.field_violations), None),
        retry_after_sec=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
    )


def _details(error: grpc.RpcError) -> status_pb2.Status:
    try:
        return _from_call(error) or status_pb2.Status()
    except (ValueError, DecodeError):  # details that contradict the status are no help
        return status_pb2.Status()
