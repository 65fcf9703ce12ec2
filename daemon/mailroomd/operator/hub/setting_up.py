"""Setting up a hub — what is known of it, and an invitation for each host.

Owns the files in the hub's directory. They are written again for each host that is added or removed. Not here: what the
servers' configuration says (`server_config`).
"""

__all__ = ["Hub", "Invitation", "add_host", "read_hub", "remove_host", "write_server_config"]

from pathlib import Path

import msgspec
from mailroom.private_file import write_private_file

from mailroomd.operator.hub.hub_description import Hub, new_password
from mailroomd.operator.hub.server_config import config_names, server_config

HUB_NAME = "hub.json"


class Invitation(msgspec.Struct, omit_defaults=True):
    """What a host needs to join: a hub file without the host's own key."""

    host: str
    servers: list[str]
    user: str
    password: str
    shard: str
    ca_pem: str = ""


def read_hub(directory: Path) -> Hub | None:
    """Returns the hub of a directory; None if there is none.

    Raises:
        OSError: its file cannot be read.
        ValueError: its file is damaged.
    """
    try:
        return msgspec.json.decode((directory / HUB_NAME).read_bytes(), type=Hub)
    except FileNotFoundError:
        return None


def add_host(hub: Hub, host: str, directory: Path) -> Path:
    """Admits a host; returns the path of its invitation. A host that is admitted already gets the same password again.

    Raises:
        OSError: a file cannot be written.
    """
    password = hub.hosts.setdefault(host, new_password())
    ca_pem = Path(hub.ca).read_text(encoding="utf-8") if hub.ca else ""
    invitation = Invitation(host, hub.servers, host, password, hub.shard, ca_pem)
    path = directory / f"{host}.invitation"
    write_private_file(path, msgspec.json.format(msgspec.json.encode(invitation)))
    return path


def remove_host(hub: Hub, host: str, directory: Path) -> bool:
    """Takes the rights of a host away in the configuration; returns whether it ever had any."""
    (directory / f"{host}.invitation").unlink(missing_ok=True)
    password = hub.hosts.pop(host, None)
    if password is not None:
        hub.leaving[host] = password
    return host in hub.leaving or host in hub.removed


def write_server_config(hub: Hub, directory: Path) -> list[Path]:
    """Writes the configuration of each server, and the file from which it can be written again; returns the paths.

    Raises:
        OSError: a file cannot be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private_file(directory / HUB_NAME, msgspec.json.format(msgspec.json.encode(hub)))
    paths = [directory / name for name in config_names(hub)]
    for number, path in enumerate(paths):
        write_private_file(path, server_config(hub, number, directory).encode())
    return paths
