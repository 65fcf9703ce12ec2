"""Loopback — the endpoint `HOST:PORT` on the loopback interface, where the applications with an HTTP server listen."""

__all__ = ["parse_endpoint"]

import ipaddress

from mailroom.errors import InvalidArgument


def parse_endpoint(text: str, option: str) -> tuple[str, int]:
    """Returns host and port of `HOST:PORT`.

    Args:
        text: what the user gave.
        option: the option that it was given with, for the error.

    Raises:
        InvalidArgument: the text has another form, or the host is not a loopback address.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidArgument(f"{option}: {text!r} is not HOST:PORT, e.g. 127.0.0.1:8030", reason="ENDPOINT_INVALID")
    if not _is_loopback(host):
        raise InvalidArgument(
            f"{option}: {host} is not a loopback address: use 127.0.0.1:{port}, and a tunnel for remote clients",
            reason="ENDPOINT_INVALID",
        )
    return "127.0.0.1" if host == "localhost" else host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
