"""open_metrics_socket — the port of the metrics, bound once for all starts of the worker that serves it."""

__all__ = ["open_metrics_socket"]

import os
import socket

from mailroomd.observability.log import log
from mailroomd.supervisor.exits import ExitCode, Refusal
from mailroomd.worker.inherited import Inherited


def open_metrics_socket(address: str) -> Inherited:
    """Listens on a loopback address, HOST:PORT.

    Raises:
        Refusal: it cannot be listened on.
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
    log.info("metrics are served", url=f"http://{address.rpartition(':')[0]}:{listener.getsockname()[1]}/metrics")
    return Inherited(listener.detach())
