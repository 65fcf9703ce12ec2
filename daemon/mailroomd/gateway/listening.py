"""listening — binds a server to its addresses: Unix sockets, and TCP with TLS if there is a certificate.

Owns the server's credentials and the error for an address in use. Not here: whether an address may be opened at all
(`cli.configuration`, `supervisor.exposure`), who may call (`gateway.request_guard`).
"""

__all__ = ["bind"]

import os
from collections.abc import Sequence
from urllib.parse import quote

import grpc
import grpc.aio

from mailroomd.model.quantities import is_tcp
from mailroomd.model.settings import Settings
from mailroomd.worker.context import CannotStart


def bind(server: grpc.aio.Server, addresses: Sequence[str], settings: Settings, *, is_first_start: bool) -> list[str]:
    """Binds a server that is not started yet.

    Args:
        addresses: canonical; port 0 lets the system choose a port.
        settings: name the certificate.
        is_first_start: at the first start, an operator must free the address; later, a restart may find it free again.

    Returns:
        The bound addresses, in the same order.

    Raises:
        CannotStart: an address is in use at the first start.
        RuntimeError: an address is in use at a later start.
        OSError: the certificate or its key cannot be read.
    """
    credentials = _credentials(settings) if settings.tls_cert is not None and any(map(is_tcp, addresses)) else None
    bound: list[str] = []
    for address in addresses:
        try:
            if credentials is not None and is_tcp(address):
                port = server.add_secure_port(address, credentials)
            else:
                port = server.add_insecure_port(_grpc_address(address))
        except RuntimeError as error:
            if not is_first_start:
                raise
            raise CannotStart(
                f"cannot listen on {address}: it is in use, or the system forbids it. "
                "Stop the other program, or choose another address with --listen.",
                os.EX_CANTCREAT,
            ) from error
        bound.append(f"{address.rpartition(':')[0]}:{port}" if is_tcp(address) else address)
    return bound


def _credentials(settings: Settings) -> grpc.ServerCredentials:
    assert settings.tls_cert is not None
    assert settings.tls_key is not None
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    if settings.tls_client_ca is None:
        return grpc.ssl_server_credentials([pair])
    authority = settings.tls_client_ca.read_bytes()
    return grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=True)


def _grpc_address(address: str) -> str:
    """Returns an address in gRPC's form, in which the path of a Unix socket is part of a URI."""
    scheme, _, path = address.partition(":")
    return f"unix:{quote(path)}" if scheme == "unix" else address
