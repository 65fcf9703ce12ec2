"""HostRecords — who is on the hub: writes this host's records, reads those of the others into the directory file.

Owns the records (`hosts`: key and shard; `alive`: session and agents), and the file that gateways read. Not here:
pinned keys (`sealing`), reading the file (`core.host_directory`).
"""

__all__ = ["HostRecords"]

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from mailroomd.core.host_directory import DIRECTORY_NAME, HostDirectory, HostRecord, HostsFile
from mailroomd.model.clock import now_ms
from mailroomd.model.names import is_host
from mailroomd.observability.log import log
from mailroomd.relay.hub import Hub, HubUnreachable
from mailroomd.relay.sealing import Sealer

REFRESH_SEC = 15.0
SPEAKS = [1]  # versions of the envelope


class _Identity(msgspec.Struct):
    key: str
    shard: str
    speaks: list[int]


class _Presence(msgspec.Struct):
    seen_ms: int
    agents: list[str]


class HostRecords:
    """Keeps the records.

    Args:
        hub: the hub.
        sealer: this host's key, and the pinned ones.
        state_dir: where the file is.
        shard: of this host.
        agents: returns the names of the agents that are present here.
        problems: returns why nothing is sent to a host, by host.
    """

    def __init__(
        self,
        hub: Hub,
        sealer: Sealer,
        state_dir: Path,
        shard: str,
        agents: Callable[[], list[str]],
        problems: Callable[[], Mapping[str, str]],
    ) -> None:
        self._hub = hub
        self._sealer = sealer
        self._path = state_dir / DIRECTORY_NAME
        self._shard = shard
        self._agents = agents
        self._problems = problems
        self._shards: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._has_said_hello = False
        known = HostDirectory(state_dir).content()
        self._hosts = dict(known.hosts)
        self._contact_ms = known.contact_ms
        self._write()

    def shard_of(self, host: str) -> str:
        """Returns the part of the hub that holds a host's mail."""
        return self._shards.get(host, self._shard)

    def refresh(self) -> None:
        """Makes the task read and write the records now."""
        self._changed.set()

    async def run(self) -> None:
        """Reads and writes the records until it is cancelled."""
        while True:
            self._changed.clear()
            try:
                if self._hub.is_connected and not self._hub.problem:
                    await self._write_own()
                    await self._read_others()
                    self._contact_ms = now_ms()
            except HubUnreachable as error:
                log.debug("host records not read", error=str(error))
            self._write()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REFRESH_SEC)

    async def _write_own(self) -> None:
        identity = _Identity(self._sealer.public_key, self._shard, SPEAKS)
        await self._hub.put_record("hosts", msgspec.json.encode(identity))
        await self._hub.put_record("alive", msgspec.json.encode(_Presence(now_ms(), self._agents())))
        if not self._has_said_hello:
            self._has_said_hello = True
            await self._hub.say_hello()

    async def _read_others(self) -> None:
        identities, presences = await self._hub.records("hosts"), await self._hub.records("alive")
        hosts: dict[str, HostRecord] = {}
        for host, data in identities.items():
            if host == self._hub.host or not is_host(host):
                continue
            try:
                identity = msgspec.json.decode(data, type=_Identity)
                presence = msgspec.json.decode(presences.get(host, b'{"seen_ms":0,"agents":[]}'), type=_Presence)
            except msgspec.MsgspecError as error:
                log.warning("record of a host not readable", host=host, error=str(error))
                continue
            self._sealer.see(host, identity.key)
            self._shards[host] = identity.shard
            before = self._hosts.get(host, HostRecord())
            hosts[host] = HostRecord(presence.seen_ms or before.seen_ms, presence.agents)
        self._hosts = {**{host: HostRecord(record.seen_ms) for host, record in self._hosts.items()}, **hosts}

    def _write(self) -> None:
        """Writes the file; a reader sees the old one or the new one."""
        problems = self._problems()
        hosts = {
            host: HostRecord(record.seen_ms, record.agents, self._sealer.problem(host) or problems.get(host, ""))
            for host, record in sorted(self._hosts.items())
        }
        content = HostsFile(self._hub.host, self._contact_ms, self._hub.is_connected, hosts)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(content))
        temporary.replace(self._path)
