"""Joining a hub — makes the hub file of a host from its invitation, forgets a pinned key, reads the directory.

Works on the daemon's state directory, whether the daemon runs or not. Not here: the hub's side (`setting_up`).
"""

__all__ = [
    "HOST_RULE",
    "HUB_FILE_NAME",
    "CannotJoin",
    "HostRecord",
    "forget_key",
    "is_host",
    "join",
    "known_hosts",
]

import os
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import msgspec
from mailroom.private_file import write_private_file

from mailroomd.core.host_directory import HostDirectory, HostRecord, HostsFile
from mailroomd.model.names import HOST_RULE, is_host
from mailroomd.operator.hub.server_config import server_urls
from mailroomd.operator.hub.setting_up import Invitation
from mailroomd.relay.hub_file import HubFile, HubFileUnusable, read_hub_file

HUB_FILE_NAME = "hub.json"
AUTHORITY_NAME = "hub-ca.pem"
PINS_NAME = "hub-keys.json"


class CannotJoin(Exception):  # noqa: N818 - a condition, not a defect
    """The invitation cannot be used; the text says why and what to do."""


def join(invitation: Path, state_dir: Path, servers: Sequence[str] = ()) -> tuple[Path, HubFile]:
    """Writes the hub file, and returns its path and content. A host that joins again keeps its key.

    Args:
        invitation: the file from the hub.
        state_dir: of the daemon.
        servers: where this host reaches the hub; none for the addresses in the invitation.

    Raises:
        ValueError: one of the servers is not an address.
        CannotJoin: the invitation cannot be used.
        OSError: a file cannot be read or written.
    """
    try:
        invited = msgspec.json.decode(invitation.read_bytes(), type=Invitation)
    except msgspec.MsgspecError as error:
        raise CannotJoin(f"{invitation} is not an invitation of `mailroom hub init` ({error})") from error
    if not is_host(invited.host):
        raise CannotJoin(f"{invitation} names the host {invited.host!r:.80}, which is not a valid name")
    path = state_dir / HUB_FILE_NAME
    try:
        before = read_hub_file(path)
    except HubFileUnusable:
        before = None
    if before is not None and before.host != invited.host:
        raise CannotJoin(
            f"this host has joined as {before.host}: remove {path} first, if it is to be {invited.host} from now on"
        )
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = before.secret if before else b64encode(os.urandom(32)).decode()
    ca = ""
    if invited.ca_pem:
        ca = str(state_dir / AUTHORITY_NAME)
        write_private_file(Path(ca), invited.ca_pem.encode())
    addresses = server_urls(servers) or invited.servers
    hub_file = HubFile(invited.host, addresses, secret, invited.shard, invited.user, invited.password, ca)
    write_private_file(path, msgspec.json.format(msgspec.json.encode(hub_file)))
    return path, hub_file


def known_hosts(state_dir: Path) -> HostsFile:
    """Returns the directory of the hosts, as the relay wrote it last; an empty one if there is none."""
    return HostDirectory(state_dir).content()


def forget_key(state_dir: Path, host: str) -> bool:
    """Forgets the pinned key of a host, so that the next one is accepted; returns whether there was one.

    Raises:
        OSError: the file cannot be written.
    """
    path = state_dir / PINS_NAME
    try:
        pins = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return False
    if pins.pop(host, None) is None:
        return False
    write_private_file(path, msgspec.json.encode(pins))
    return True
