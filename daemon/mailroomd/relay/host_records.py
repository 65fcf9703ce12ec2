"""HostRecords — the hosts on the hub: writes this host's records, reads those of the others into the directory file.

Owns the records (`hosts`: key and shard; `alive`: the machine and its agents), and the file that gateways read. Guards
the name of this host: while another machine answers under it, nothing is sent or fetched. Not here: pinned keys
(`sealing`), reading the file (`core.host_directory`).
Invariant: a host whose name another machine uses stays closed.
"""

__all__ = ["HostRecords"]

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from mailroom.private_file import write_private_file

from mailroomd.core.host_directory import DIRECTORY_NAME, HostDirectory, HostRecord, HostsFile
from mailroomd.core.host_policy import HostPolicy
from mailroomd.model.clock import now_ms
from mailroomd.model.names import is_host
from mailroomd.model.settings import Settings
from mailroomd.observability.log import log
from mailroomd.relay.hub import Hub, HubUnreachable
from mailroomd.relay.hub_messages import StoredRecord
from mailroomd.relay.sealing import Sealer

PRESENCE_SEC = 30.0  # between two records of this host
REFRESH_SEC = 15.0  # between two looks at all others, at least ...
REFRESH_SEC_PER_HOST = 0.6  # ... since each costs two requests
CLAIMS = 3  # unanswered questions after which the machine that wrote this host's record is thought to be gone
SPEAKS = [1]  # versions of the envelope
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TAKEN = "HOST_TAKEN: another machine uses the name {host} on this hub. If this one is a copy, join under another name"


class _Identity(msgspec.Struct):
    key: str
    shard: str
    speaks: list[int]


class _Presence(msgspec.Struct):
    seen_ms: int
    machine: str
    agents: list[str]


class HostRecords:
    """Keeps the records.

    Args:
        hub: the hub.
        sealer: this host's key, and the pinned ones.
        settings: returns the settings: where the file is, and who may write.
        shard: of this host.
        agents: returns the names of the agents that are present here.
        problems: returns why nothing is sent to a host, by host.
        waiting: returns how many messages wait for a host, and their size, by host.
        on_open: called when mail may be sent and fetched.
        on_removed: called with a host that was removed.

    Attributes:
        removed: the hosts that the operator of the hub has removed.
        behind_ms: how far the clock of this host is behind the hub's.
    """

    def __init__(
        self,
        hub: Hub,
        sealer: Sealer,
        settings: Callable[[], Settings],
        shard: str,
        agents: Callable[[], list[str]],
        problems: Callable[[], Mapping[str, str]],
        waiting: Callable[[], Mapping[str, tuple[int, int]]],
        on_open: Callable[[], None],
        on_removed: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._sealer = sealer
        state_dir = settings().state_dir
        self._settings = settings
        self._path = state_dir / DIRECTORY_NAME
        self._shard = shard
        self._agents = agents
        self._problems = problems
        self._waiting = waiting
        self._on_open = on_open
        self._on_removed = on_removed
        self._machine = _machine(state_dir)
        self._shards: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._others_due_sec = 0.0
        self._own_due_sec = 0.0
        known = HostDirectory(state_dir).content()
        self._hosts = dict(known.hosts)
        self.removed = frozenset(known.removed)
        self.behind_ms = known.behind_ms
        self._contact_ms = known.contact_ms

    def shard_of(self, host: str) -> str:
        """Returns the part of the hub that holds a host's mail."""
        return self._shards.get(host, self._shard)

    def refresh(self) -> None:
        """Makes the task read and write the records now: the connection has changed."""
        self._own_due_sec = self._others_due_sec = 0.0
        self._changed.set()

    async def greet(self, host: str) -> None:
        """Reads the records of a host that has started."""
        with suppress(HubUnreachable):
            if is_host(host):
                await self._read_host(host)
                self._write()

    async def run(self) -> None:
        """Reads and writes the records until it is cancelled."""
        while True:
            self._changed.clear()
            try:
                if self._hub.is_connected:
                    await self._exchange(time.monotonic())
            except HubUnreachable as error:
                log.debug("host records not read", error=str(error))
            self._write()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REFRESH_SEC)

    async def _exchange(self, now_sec: float) -> None:
        await self._read_removed()  # first of all: nothing is sent to a host that is gone
        if now_sec >= self._own_due_sec:
            await self._claim()
            self._own_due_sec = now_sec + PRESENCE_SEC
        if now_sec >= self._others_due_sec:
            hosts = await self._hub.record_names("hosts")
            for host in hosts:
                if host != self._hub.host and is_host(host):
                    await self._read_host(host)
            self._others_due_sec = now_sec + max(REFRESH_SEC, REFRESH_SEC_PER_HOST * len(hosts))
        self._contact_ms = now_ms()

    async def _read_removed(self) -> None:
        removed = frozenset(filter(is_host, await self._hub.record_names("removed")))
        gone, self.removed = removed - self.removed, removed
        for host in removed:
            self._hosts.pop(host, None)
        for host in sorted(gone):
            log.warning("host was removed from the hub: what waits for it returns to its senders", host=host)
            self._on_removed(host)

    async def _claim(self) -> None:
        """Writes this host's records, unless another machine uses its name."""
        hub = self._hub
        if await self._is_used_elsewhere():
            hub.is_open, hub.problem = False, TAKEN.format(host=hub.host)
            log.error("host name is taken: no mail is exchanged", host=hub.host)
            return
        await hub.put_record("alive", msgspec.json.encode(_Presence(now_ms(), self._machine, self._agents())))
        own = await hub.record("alive", hub.host)
        if own is not None and own.stored_ms:
            self.behind_ms = own.stored_ms - self._presence_of(own).seen_ms
        if not hub.is_open or await hub.record("hosts", hub.host) is None:  # the hub may have lost it
            await hub.put_record("hosts", msgspec.json.encode(_Identity(self._sealer.public_key, self._shard, SPEAKS)))
            await hub.say_hello()
        if not hub.is_open:
            hub.is_open = True
            self._on_open()
        hub.problem = ""

    async def _is_used_elsewhere(self) -> bool:
        """Returns whether another machine answers under this name.

        Asks if another machine wrote the record of this name last. The hub loses the records when all of its servers
        restart; without one, a machine asks before it opens.
        """
        record = await self._hub.record("alive", self._hub.host)
        if record is None:
            questions = 0 if self._hub.is_open else 1
        else:
            questions = 0 if self._presence_of(record).machine == self._machine else CLAIMS
        for _ in range(questions):
            if await self._hub.ask(self._hub.host, self._machine.encode()) is not None:
                return True
        return False

    def answer_claim(self, machine: bytes) -> bytes | None:
        """Answers a machine that wants to use the name of this host; None if it is free, or if it is this machine."""
        is_used = self._hub.is_open and machine != self._machine.encode()
        return self._machine.encode() if is_used else None

    async def _read_host(self, host: str) -> None:
        if host in self.removed:
            return
        identity_record, presence_record = await self._hub.record("hosts", host), await self._hub.record("alive", host)
        if identity_record is None:
            return
        try:
            identity = msgspec.json.decode(identity_record.data, type=_Identity)
            presence = self._presence_of(presence_record) if presence_record else _Presence(0, "", [])
        except msgspec.MsgspecError as error:
            log.warning("record of a host not readable", host=host, error=str(error))
            return
        self._sealer.see(host, identity.key)
        self._shards[host] = identity.shard
        before = self._hosts.get(host, HostRecord())
        behind_ms = (
            presence_record.stored_ms - presence.seen_ms
            if presence_record and presence_record.stored_ms
            else before.behind_ms
        )
        self._hosts[host] = HostRecord(presence.seen_ms or before.seen_ms, presence.agents, behind_ms=behind_ms)

    @staticmethod
    def _presence_of(record: StoredRecord) -> _Presence:
        return msgspec.json.decode(record.data, type=_Presence)

    def _write(self) -> None:
        """Writes the file; a reader sees the old one or the new one."""
        problems, waiting, settings = self._problems(), self._waiting(), self._settings()
        hosts = {
            host: HostRecord(
                record.seen_ms,
                record.agents,
                self._sealer.problem(host) or problems.get(host, ""),
                *waiting.get(host, (0, 0)),
                record.behind_ms,
            )
            for host, record in sorted(self._hosts.items())
        }
        is_connected = self._hub.is_connected and self._hub.is_open
        content = HostsFile(
            self._hub.host,
            self._contact_ms,
            is_connected,
            self._hub.problem,
            hosts,
            sorted(self.removed),
            self.behind_ms,
            HostPolicy(settings.hub_accept, settings.hub_deny).unmatched(hosts),
        )
        try:
            write_private_file(self._path, msgspec.json.encode(content))
        except OSError as error:
            log.warning("directory of hosts not written", path=str(self._path), error=str(error))


def _machine(state_dir: Path) -> str:
    """Returns what tells this machine, in this boot, and its state directory from a copy of them."""
    status = state_dir.stat()
    return f"{BOOT_ID.read_text().strip()}/{status.st_dev:x}.{status.st_ino:x}"
