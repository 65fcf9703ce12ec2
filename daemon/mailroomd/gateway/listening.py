"""listening — binds a server to its addresses: Unix sockets, and TCP with TLS if there is a certificate.

Owns the server's credentials and the error for an address in use. Not here: whether an address may be opened at all
(`cli.configuration`, `supervisor.exposure`), who may call (`gateway.request_guard`).
"""

__all__ = ["bind"]

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import grpc
import grpc.aio

from mailroomd.gateway.socket_watch import find_obstacle
from mailroomd.model.quantities import MAX_SOCKET_PATH_BYTES, is_tcp, unix_path
from mailroomd.worker.config import TlsCredentials
from mailroomd.worker.context import CannotStart, CannotStartYet


def bind(
    server: grpc.aio.Server, addresses: Sequence[str], tls: TlsCredentials | None, *, is_first_start: bool
) -> list[str]:
    """Binds a server that is not started yet.

    Args:
        addresses: canonical; port 0 lets the system choose a port.
        tls: the certificate for TCP addresses, or None.
        is_first_start: at the first start, an operator must free the address; later, a restart may find it free again.

    Returns:
        The bound addresses, in the same order.

    Raises:
        CannotStart: an address is in use at the first start.
        CannotStartYet: an address is in use at a later start, or the path of a socket was taken by another process.
        OSError: a socket cannot be renamed.
    """
    credentials = None if tls is None else _credentials(tls)
    bound: list[str] = []
    for address in addresses:
        try:
            path = unix_path(address)
            if path is not None:
                port = _bind_socket(server, path)
            elif credentials is not None:
                port = server.add_secure_port(address, credentials)
            else:
                port = server.add_insecure_port(address)
        except RuntimeError as error:
            if not is_first_start:
                raise CannotStartYet(f"cannot listen on {address}: {error}") from error
            raise CannotStart(
                f"cannot listen on {address}: it is in use, or the system forbids it. "
                "Stop the other program, or choose another address with --listen.",
                os.EX_CANTCREAT,
            ) from error
        bound.append(f"{address.rpartition(':')[0]}:{port}" if is_tcp(address) else address)
    return bound


def _bind_socket(server: grpc.aio.Server, path: Path) -> int:
    """Binds a name of our own and renames it to the path, which the supervisor has claimed for this daemon.

    A server that stops unlinks the name that it has bound, even if another server owns it by then. This name no longer
    exists.
    """
    if obstacle := find_obstacle(path):
        raise CannotStartYet(f"cannot listen on {path}: {obstacle}")
    temporary = _unused_name(path)
    port = server.add_insecure_port(f"unix:{quote(os.fspath(temporary))}")  # a URI: the path has to be quoted
    temporary.rename(path)
    return port


def _unused_name(path: Path) -> Path:
    """Returns a name beside a path, as long as the kernel allows; tools such as ss(8) show it instead of the path."""
    room = MAX_SOCKET_PATH_BYTES - len(os.fsencode(path.parent)) - 1
    while True:
        suffix = secrets.token_hex(4)
        name = f".{path.name}.{suffix}"
        candidate = path.with_name(name if len(os.fsencode(name)) <= room else suffix[:room])
        if not candidate.exists():
            return candidate


def _credentials(tls: TlsCredentials) -> grpc.ServerCredentials:
    pair = (tls.key, tls.certificate)
    if not tls.client_authority:
        return grpc.ssl_server_credentials([pair])
    return grpc.ssl_server_credentials([pair], root_certificates=tls.client_authority, require_client_auth=True)
