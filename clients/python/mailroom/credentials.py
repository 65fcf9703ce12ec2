"""Credentials — a client's token and TLS files.

Order: the program's arguments, then MAILROOM_TOKEN, MAILROOM_TOKEN_FILE, MAILROOM_TLS_CA, MAILROOM_TLS_CLIENT_CERT and
MAILROOM_TLS_CLIENT_KEY (MAILROOM_TLS_CERT and MAILROOM_TLS_KEY belong to the daemon). TLS is used over TCP if an
authority is given; a Unix socket does not need it.
Invariant: a token is never printed, and never sent where others on the network could read it.
"""

__all__ = ["Credentials", "find_credentials"]

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailroom.addresses import Address
from mailroom.errors import InvalidArgument
from mailroom.options import AccessOptions

_TOKEN = re.compile(r"[!-~]+")  # what a header can carry; the daemon decides whether it is a valid token


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client's credentials.

    Attributes:
        token: the token, "" for none.
        ca: the authorities (PEM) that may issue the daemon's certificate, None for no TLS.
        cert: this client's certificate chain (PEM), for mutual TLS.
        key: the private key of `cert` (PEM).
    """

    token: str = field(default="", repr=False)
    ca: bytes | None = field(default=None, repr=False)
    cert: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of each call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def uses_tls(self, address: Address) -> bool:
        """Returns whether to use TLS with an address.

        Raises:
            InvalidArgument: the token would cross the network unencrypted.
        """
        if address.socket_path is not None:
            return False
        if self.ca is None and self.token and not _is_loopback(address.text):
            raise InvalidArgument(
                f"{address.text} is on another machine, and without TLS others on the network could read the token: "
                "set MAILROOM_TLS_CA to the authority's certificate",
                reason="TLS_MISSING",
                field="tls_ca",
            )
        return self.ca is not None


def find_credentials(options: AccessOptions, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Returns the credentials of a client.

    Args:
        options: the program's arguments.
        environ: the environment variables.

    Raises:
        InvalidArgument: a file cannot be read, or a token is malformed.
    """
    ca = _file("tls_ca", options.get("tls_ca"), "MAILROOM_TLS_CA", environ)
    cert = _file("tls_cert", options.get("tls_cert"), "MAILROOM_TLS_CLIENT_CERT", environ)
    key = _file("tls_key", options.get("tls_key"), "MAILROOM_TLS_CLIENT_KEY", environ)
    if (cert is None) != (key is None):
        missing = "tls_key" if key is None else "tls_cert"
        raise InvalidArgument(
            f"{missing} is missing: a certificate and its key must be given together",
            reason="TLS_INVALID",
            field=missing,
        )
    if cert is not None and ca is None:
        raise InvalidArgument(
            "tls_ca is missing: a client certificate requires TLS, which requires the daemon's authority",
            reason="TLS_INVALID",
            field="tls_ca",
        )
    return Credentials(_token(options, environ), ca, cert, key)


def _token(options: AccessOptions, environ: Mapping[str, str]) -> str:
    text, source = options.get("token"), "token"
    if text is None and (file := options.get("token_file")) is not None:
        text, source = _read(file, "token_file").decode(errors="replace"), os.fspath(file)
    if text is None and (given := environ.get("MAILROOM_TOKEN")) is not None:
        text, source = given, "MAILROOM_TOKEN"
    if text is None and (file := environ.get("MAILROOM_TOKEN_FILE")) is not None:
        text, source = _read(file, "MAILROOM_TOKEN_FILE").decode(errors="replace"), file or "MAILROOM_TOKEN_FILE"
    if text is None:
        return ""
    text = text.strip()
    if not text:  # often an unset variable of a script, which must not turn an agent into the owner
        raise InvalidArgument(f"{source} is empty: give a token, or none at all", reason="TOKEN_INVALID", field="token")
    if not _TOKEN.fullmatch(text):
        raise InvalidArgument(
            f"{source} does not contain a token: expected a single word", reason="TOKEN_INVALID", field="token"
        )
    return text


def _file(name: str, given: str | os.PathLike[str] | None, variable: str, environ: Mapping[str, str]) -> bytes | None:
    if given is not None:
        return _read(given, name)
    file = environ.get(variable)
    if file == "":  # often an unset variable of a script, which must not turn TLS off
        raise InvalidArgument(f"{variable} is empty: set it, or unset it", reason="TLS_INVALID", field=name)
    return _read(file, variable) if file else None


def _read(file: str | os.PathLike[str], source: str) -> bytes:
    try:
        return Path(file).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        detail = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidArgument(
            f"{source}: {os.fspath(file)} cannot be read ({detail})", reason="FILE_UNREADABLE", field=source
        ) from error


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
