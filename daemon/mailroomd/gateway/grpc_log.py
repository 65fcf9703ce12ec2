"""grpc_log — what the gRPC library complains of goes to the process's log; it hides that by default.

Owns the one thing that the library knows and our handlers don't: that it met a MemoryError of its own. It would answer
that with UNKNOWN, which no client repeats; so the process ends first, and calls come again on its successor.
"""

__all__ = ["end_without_memory", "hear_grpc"]

import logging
import os
from typing import NoReturn

from mailroomd.observability.log import log
from mailroomd.worker.shortage import EX_SHORTAGE


class _Forwarding(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MemoryError):
            end_without_memory()
        log.warning("gRPC complains", says=record.getMessage(), exc_info=error)


def hear_grpc() -> None:
    """Lets the library's warnings and errors come to the log from now on."""
    logging.getLogger("grpc").addHandler(_Forwarding(logging.WARNING))


def end_without_memory() -> NoReturn:
    """Ends the process, for the supervisor to start it anew: without memory not even a refusal can be sent."""
    log.error("no memory left: the gateway is started anew")
    os._exit(EX_SHORTAGE)
