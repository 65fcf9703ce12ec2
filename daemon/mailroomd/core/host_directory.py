"""HostDirectory — which other hosts there are, as the relay last heard from the hub: a file in the state directory.

Owns reading it: every process that needs it reads it again when it has changed, so no call waits for the hub. Not here:
writing it (the relay), and what addresses look like (`model.names`).
Invariant: a message is accepted only for a host that has been seen.
"""

__all__ = ["DIRECTORY_NAME", "HostDirectory", "HostRecord", "HostsFile"]

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.names import has_host, host_of, name_of

DIRECTORY_NAME = "hosts.json"
"""Below the state directory."""
MAX_LISTED = 10


class HostRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one host.

    Attributes:
        seen_ms: when it last wrote to the hub, in milliseconds since 1970; 0 if it has not been seen.
        agents: those that are present there.
        problem: why nothing is sent to it, or "".
        waiting, waiting_bytes: how many messages wait for it here, and their size.
        behind_ms: how far its clock is behind the hub's.
    """

    seen_ms: int = 0
    agents: list[str] = []
    problem: str = ""
    waiting: int = 0
    waiting_bytes: int = 0
    behind_ms: int = 0


class HostsFile(msgspec.Struct, frozen=True):
    """The content of the file.

    Attributes:
        host: the name of this host.
        contact_ms: when the hub last answered, in milliseconds since 1970; 0 for never.
        is_connected: whether mail was exchanged with the hub when the file was written.
        problem: why not, or "".
        hosts: every other host, by name.
        removed: hosts that the operator of the hub has removed.
        behind_ms: how far the clock of this host is behind the hub's.
        unmatched_rules: those of --hub-accept and --hub-deny that match no host.
    """

    host: str
    contact_ms: int = 0
    is_connected: bool = False
    problem: str = ""
    hosts: dict[str, HostRecord] = {}
    removed: list[str] = []
    behind_ms: int = 0
    unmatched_rules: list[str] = []


class HostDirectory:
    """Reads the directory.

    Args:
        state_dir: where the file is; None if no hub is configured.
    """

    def __init__(self, state_dir: Path | None) -> None:
        self._path = state_dir / DIRECTORY_NAME if state_dir is not None else None
        self._read = HostsFile("")
        self._version = (0, 0)

    def content(self) -> HostsFile:
        """Returns the directory as it is now; an empty one if it cannot be read."""
        if self._path is None:
            return self._read
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_ino)
            if version != self._version:
                self._read = msgspec.json.decode(self._path.read_bytes(), type=HostsFile)
                self._version = version
        except (OSError, msgspec.MsgspecError):
            pass  # the last one holds: the relay writes it again
        return self._read

    def is_configured(self) -> bool:
        """Returns whether this host takes part in a hub."""
        return self._path is not None

    def listing(self, agent: str, seen_ms: int) -> Sequence[str]:
        """Returns other hosts that list an agent, up to ten, if it was never seen here.

        Args:
            agent: its name; one with a host is on no other.
            seen_ms: when it was last seen here; 0 for never.
        """
        if self._path is None or seen_ms or has_host(agent):
            return ()
        hosts = self.content().hosts
        return [host for host, record in hosts.items() if agent in record.agents][:MAX_LISTED]

    def local_or_known(self, address: str) -> str:
        """Returns an address with a host in its one form: without the host if that is this one.

        Raises:
            MailroomError: HOST_UNKNOWN, the host was never seen.
        """
        host = host_of(address)
        if self._path is None:
            raise _unknown(
                f"{address} is on host {host}, and no hub is configured here: "
                "join this host to a hub (see docs/hosts.md), or leave the host out"
            )
        directory = self.content()
        if host == directory.host:
            return name_of(address)
        if host in directory.removed:
            raise _unknown(f"host {host} was removed from the hub: what waited for it has returned to its senders")
        if host not in directory.hosts:
            known = ", ".join(sorted(directory.hosts)[:10]) or "none"
            raise _unknown(f"host {host} was never seen on the hub: check its name (known: {known}), or join it first")
        return address


def _unknown(sentence: str) -> MailroomError:
    return MailroomError(Reason.HOST_UNKNOWN, sentence, field="recipient")
