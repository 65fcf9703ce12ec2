"""open_metrics_socket — binds the port for metrics once, for every start of the worker that serves it."""

__all__ = ["open_metrics_socket"]

import os
import socket

from mailroomd.observability.log import log
from mailroomd.supervisor.exits import ExitCode, Refusal
from mailroomd.worker.inherited import InheritedDescriptor


def open_metrics_socket(address: str) -> InheritedDescriptor:
    """Listens on a loopback address, HOST:PORT.

    Raises:
        Refusal: CANNOT_CREATE; the address cannot be bound.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, int(port)), family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        sentence = f"cannot serve metrics on {address}: {why}. Choose another address with --metrics."
        raise Refusal(sentence, ExitCode.CANNOT_CREATE) from None
    log.info("serving metrics", url=f"http://{address.rpartition(':')[0]}:{listener.getsockname()[1]}/metrics")
    return InheritedDescriptor(listener.detach())
