"""HubDescription — what is known of a hub: its servers, its hosts and their passwords.

Owns the format of the file from which everything else of a hub is written again. Not here: reading and writing it
(`setting_up`).
"""

__all__ = ["Hub", "new_password"]

import secrets

import msgspec

PASSWORD_BYTES = 24


def new_password() -> str:
    """Returns a password that nobody can guess."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


class Hub(msgspec.Struct, omit_defaults=True):
    """A hub.

    Attributes:
        servers: the addresses by which hosts reach it, one for each server.
        listen: the address that the server listens on; in a cluster, each takes the port of its own address.
        hosts: the password of each host, by name.
        shard: the part of the hub that holds their mail.
        cert, key, ca: paths of the certificate of the server, of its key, and of the authority that hosts check it by.
        operator: the password of the user as which `mailroom hub` works on the servers.
        cluster_password: by which the servers of a cluster know each other.
        leaving: the passwords of hosts that are being removed, by name: servers may still let them in.
        removed: the hosts that are marked as removed on the servers.
    """

    servers: list[str]
    listen: str
    hosts: dict[str, str] = {}
    shard: str = "main-0"
    cert: str = ""
    key: str = ""
    ca: str = ""
    operator: str = msgspec.field(default_factory=new_password)
    cluster_password: str = msgspec.field(default_factory=new_password)
    leaving: dict[str, str] = {}
    removed: list[str] = []
