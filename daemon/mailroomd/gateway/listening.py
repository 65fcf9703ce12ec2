"""listening — binds a server to its addresses: Unix sockets as they are, TCP with TLS where there is a certificate.

Owns the credentials of the server and the sentence for an address that is taken. Not here: whether an address may be
opened at all (`cli.configuration`, `supervisor.exposure`), who may call (`gateway.request_guard`).
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
        addresses: canonical; port 0 lets the system choose.
        settings: where the certificate is.
        is_first_start: a fault is the operator's to mend; later, whoever took an address may give it back.

    Returns:
        The addresses that are bound, in this order.

    Raises:
        CannotStart: an address is taken, at the first start.
        RuntimeError: the same, later.
        OSError: the certificate or its key cannot be read.
    """
    credentials = _credentials(settings) if settings.tls_cert is not None and any(map(is_tcp, addresses)) else None
    bound: list[str] = []
    for address in addresses:
        try:
            if credentials is not None and is_tcp(address):
                port = server.add_secure_port(address, credentials)
            else:
                port = server.add_insecure_port(_as_grpc_wants(address))
        except RuntimeError as error:
            if not is_first_start:
                raise
            raise CannotStart(
                f"cannot listen on {address}: something else does, or the system forbids it. "
                "Stop it, or choose another address with --listen.",
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


def _as_grpc_wants(address: str) -> str:
    """Returns an address as gRPC reads it: the path of a Unix socket is part of a URI there."""
    scheme, _, path = address.partition(":")
    return f"unix:{quote(path)}" if scheme == "unix" else address
