"""HubFile — what `--hub` names: the file by which a host takes part in a hub.

Owns its format. `mailroom hub join` writes it, private to its owner, since it holds the keys of the host. Not here: the
connection (`hub`).
"""

__all__ = ["HubFile", "HubFileUnusable", "read_hub_file"]

import os
from base64 import b64decode
from pathlib import Path

import msgspec

from mailroomd.model.names import HOST_RULE, is_host

KEY_BYTES = 32


class HubFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A host's part in a hub.

    Attributes:
        host: the name of this host.
        servers: the addresses of the hub's servers, such as nats://hub.example:4222.
        secret: this host's private key (X25519), base64.
        shard: the part of the hub that holds this host's mail.
        user, password: as which the hub knows this host.
        ca: file with the certificates (PEM) by which the servers' are checked; "" for those of the system.
    """

    host: str
    servers: list[str]
    secret: str
    shard: str = "main-0"
    user: str = ""
    password: str = ""
    ca: str = ""


class HubFileUnusable(Exception):  # noqa: N818 - a condition, not a defect
    """The file cannot be used; the text says why and what to do."""


def read_hub_file(path: Path) -> HubFile:
    """Returns the content of a hub file.

    Raises:
        HubFileUnusable: it is missing, not private or not what `mailroom hub join` writes.
    """
    again = "run `mailroom hub join` again"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as error:
        raise HubFileUnusable(f"cannot read the hub file {path}: {error.strerror}. Check --hub, or {again}.") from error
    if mode & 0o077:
        raise HubFileUnusable(f"the hub file {path} holds a private key, and others can read it: chmod 600 {path}")
    try:
        hub_file = msgspec.json.decode(content, type=HubFile)
        has_key = len(b64decode(hub_file.secret, validate=True)) == KEY_BYTES
    except ValueError as error:
        raise HubFileUnusable(f"the hub file {path} cannot be used ({error}): {again}.") from error
    if not is_host(hub_file.host):
        raise HubFileUnusable(f"the hub file {path} names the host {hub_file.host!r:.80}: {HOST_RULE}.")
    if not (has_key and hub_file.servers and is_host(hub_file.shard)):
        raise HubFileUnusable(f"the hub file {path} has no usable key, server or shard: {again}.")
    return hub_file
