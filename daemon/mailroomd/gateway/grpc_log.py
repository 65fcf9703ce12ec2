"""grpc_log — forwards warnings and errors of the gRPC library to the process's log; by default they are hidden.

Owns the reaction to a MemoryError inside the library. gRPC would answer the call with UNKNOWN, which clients do not
retry; so the process exits first, and clients retry against its successor.
"""

__all__ = ["exit_out_of_memory", "forward_grpc_log"]

import logging
import os
from typing import NoReturn

from mailroomd.observability.log import log
from mailroomd.worker.shortage import EX_SHORTAGE


class _ForwardingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MemoryError):
            exit_out_of_memory()
        log.warning("gRPC warning", error=record.getMessage(), exc_info=error)


def forward_grpc_log() -> None:
    """Forwards the library's warnings and errors to the log from now on."""
    logging.getLogger("grpc").addHandler(_ForwardingHandler(logging.WARNING))


def exit_out_of_memory() -> NoReturn:
    """Ends the process so that the supervisor restarts it: without memory not even a refusal can be sent."""
    log.error("out of memory, restarting the gateway")
    os._exit(EX_SHORTAGE)
