"""WideBed — three hosts and a hub of three servers, each on a machine of its own with a disk of its own.

A machine is a network namespace, a disk is a file system in a file; both are made for the test and go with it. Owns
starting and ending everything, and when which host was harmed. `wait_at_rest` asks the checker. Not here:
what goes wrong (`faults`), the mail (`traffic`). Needs root.
"""

__all__ = ["ADMIN", "HOSTS", "SERVERS", "SPARE", "WideBed", "running_wide_bed"]

import asyncio
import json
import shutil
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import nats
from mailroomd.model.states import DeliveryState
from mailroomd.operator.hub.setting_up import Hub, add_host, write_server_config
from nats.errors import Error as NatsError
from support.faults.moved_clock import MovedClock
from support.faults.small_disk import SmallDisk, place_on, small_disk
from support.harness.daemon import short_directory
from support.harness.waiting import wait_until
from support.hosts.bed import Host
from support.hosts.broker import START_SEC, Broker
from support.hosts.evidence import HostsEvidence, Sent, read_host
from support.hosts.hosts_checker import judge
from support.hosts.network import Network, running_network

HOSTS, SERVERS, SPARE = ("a", "b", "c"), ("n1", "n2", "n3"), "x"
CLOCK_HOST = "c"  # the one whose clock can be set
DISK_BYTES = 1 << 30
EXPIRED, RETURNED = DeliveryState.EXPIRED, DeliveryState.RETURNED
REST_SEC = 180.0  # for everything to arrive and to be known, once nothing is broken any more
ADMIN = "admin"  # a user of the hub that may do everything
ADMIN_SEC = 5.0
DEADLOCKED_ATTEMPTS = 10  # of each server, five seconds apart
FLAGS = ("--max-unread", "400", "--sweep-every", "1s")  # so that mailboxes get full, and mail expires in time


class WideBed:
    """The machines, and what runs on them.

    Attributes:
        directory: holds everything.
        network: between the machines.
        disks: by machine.
        brokers: the servers of the hub, by machine.
        hosts: by name, which is that of their machine.
        clock: of one of the hosts.
        sent: what was accepted for other hosts.
        local_failures: as in `HostsEvidence`.
    """

    def __init__(self, directory: Path, network: Network, disks: Mapping[str, SmallDisk]) -> None:
        self.directory, self.network, self.disks = directory, network, disks
        machines = network.machines
        self.brokers = {name: Broker(directory / "hub", at, machines[name]) for at, name in enumerate(SERVERS, 1)}
        for name, broker in self.brokers.items():
            (disks[name].path / "store").mkdir()
            broker.store.symlink_to(disks[name].path / "store")
        self.hub = Hub([broker.url for broker in self.brokers.values()], "0.0.0.0:0")
        self.hosts = {name: Host(name, directory / name, machines[name].program()) for name in HOSTS}
        self.clock = MovedClock(directory / "clock")
        self.hosts[CLOCK_HOST].daemon.environment |= self.clock.environment()
        for name, host in self.hosts.items():
            place_on(disks[name], host.daemon)
            host.daemon.start_bound_sec = START_SEC
            self.admit(host)
        self.write_config()
        self.sent: list[Sent] = []
        self.local_failures: list[str] = []
        self._harmed: dict[str, float] = dict.fromkeys(HOSTS, 0.0)  # until when; by the monotonic clock

    def admit(self, host: Host) -> None:
        """Has a host join the hub."""
        host.join(add_host(self.hub, host.name, self.directory / "hub"))
        host.daemon.flags = (*host.daemon.flags, *FLAGS)

    def write_config(self) -> None:
        """Writes the configuration of the servers; those that run read it again."""
        for path in write_server_config(self.hub, self.directory / "hub"):
            user = f'users: [\n    {{ user: "{ADMIN}", password: "{ADMIN}" }}'
            path.write_text(path.read_text(encoding="utf-8").replace("users: [", user), encoding="utf-8")
        for broker in self.brokers.values():
            if broker.process is not None:
                broker.reload()

    def start(self) -> None:
        """Starts everything, and waits until the hosts know each other."""
        self.start_brokers()
        for host in self.hosts.values():
            host.daemon.start()
        for host in self.hosts.values():
            for other in HOSTS:
                if other != host.name:
                    wait_until(lambda host=host, other=other: host.knows(other), f"{host.name} has seen {other}", 60.0)

    def start_brokers(self) -> None:
        """Starts the servers that do not run, and waits until all are ready."""
        self.launch_brokers()
        self.wait_brokers()

    def launch_brokers(self) -> None:
        """Starts the servers that do not run."""
        for broker in self.brokers.values():
            if broker.process is None:
                broker.launch()

    def wait_brokers(self) -> None:
        """Waits until all servers are ready."""
        for broker in self.brokers.values():
            wait_until(broker.is_ready, f"{broker.url} is ready", START_SEC, step_sec=0.1)

    def hub_state(self) -> str:
        """Returns "ready", "deadlocked" if each server waits for another one to be complete, or "" before that."""
        brokers = self.brokers.values()
        if all(broker.aborted_catchups() >= DEADLOCKED_ATTEMPTS for broker in brokers):
            return "deadlocked"
        return "ready" if all(broker.is_ready() for broker in brokers) else ""

    # -- the hub --------------------------------------------------------------------------------------------------

    def ask_hub(self, subject: str, body: bytes = b"") -> dict[str, Any]:
        """Returns what the hub answers to an operator who may do everything."""
        found = wait_until(
            lambda: self.try_to_ask_hub(subject, body), f"the hub answers to {subject}", START_SEC, step_sec=0.3
        )
        assert found is not None
        return found

    def try_to_ask_hub(self, subject: str, body: bytes = b"") -> dict[str, Any] | None:
        """Asks the hub once; returns None if it does not answer. It may be choosing a leader."""

        async def ask() -> dict[str, Any]:
            client = await nats.connect(  # pyright: ignore[reportUnknownMemberType]
                self.hub.servers, user=ADMIN, password=ADMIN, connect_timeout=ADMIN_SEC
            )
            try:
                return json.loads((await client.request(subject, body, timeout=ADMIN_SEC)).data)
            finally:
                await client.close()

        with suppress(NatsError, OSError, TimeoutError):
            found = self.network.machines[SPARE].run(lambda: asyncio.run(ask()))
            if found.get("error", {}).get("code") != 503:
                return found
        return None

    def mail_stream(self) -> dict[str, Any]:
        """Returns what the hub says of the stream that holds the mail; {} if there is none."""
        return self.ask_hub(f"$JS.API.STREAM.INFO.MAIL_{self.hub.shard}").get("state", {})

    def _batches_at_hub(self) -> int:
        """Returns how many batches wait at the hub. Nobody can fetch those for hosts that were removed."""
        every_subject = json.dumps({"subjects_filter": ">"}).encode()
        state = self.ask_hub(f"$JS.API.STREAM.INFO.MAIL_{self.hub.shard}", every_subject).get("state", {})
        return sum(count for subject, count in state.get("subjects", {}).items() if subject.split(".")[2] in self.hosts)

    # -- harm -----------------------------------------------------------------------------------------------------

    @contextmanager
    def harming(self, *hosts: str, after_sec: float = 5.0) -> Generator[None]:
        """Notes that local mail of hosts may fail now, and for a moment afterwards."""
        self._harmed |= dict.fromkeys(hosts, float("inf"))
        try:
            yield
        finally:
            self._harmed |= dict.fromkeys(hosts, time.monotonic() + after_sec)

    def was_harmed(self, host: str, since: float) -> bool:
        """Returns whether anything was done to a host since a moment of the monotonic clock."""
        return self._harmed[host] >= since

    def copy_disk(self, host: str, to: Path) -> None:
        """Copies what a host, which is stopped, has on its disk."""
        source = self.disks[host].path
        for name in ("state", "root"):
            shutil.copytree(source / name, to / name, symlinks=True, ignore=_sockets)

    # -- the end --------------------------------------------------------------------------------------------------

    def evidence(self, *, with_hub: bool = False) -> HostsEvidence:
        """Returns what is there now."""
        at_hub = self._batches_at_hub() if with_hub else 0
        hosts = {name: read_host(host.daemon.database, host.daemon.inbox) for name, host in self.hosts.items()}
        return HostsEvidence(list(self.sent), hosts, list(self.local_failures), at_hub)

    def tally(self) -> Counter[str]:
        """Returns how many messages were accepted for other hosts, and what became of them."""
        found = Counter(accepted=len(self.sent), returned=0, expired=0, undone=0, arrived=0)
        hosts = self.evidence().hosts
        for sent in self.sent:
            row = hosts[sent.host].messages.get(sent.id)
            ends = {RETURNED: "returned", EXPIRED: "expired"}
            found["undone" if sent.is_undone or row is None else ends.get(DeliveryState(row.state), "arrived")] += 1
        return found

    def wait_at_rest(self, *, is_last: bool = False) -> None:
        """Waits until every promise holds; fails with those that do not.

        Args:
            is_last: whether the hub has to be empty, too. It delivers what a killed relay had fetched after a minute.
        """
        self.network.heal()
        self.wait_brokers()
        broken = ["nothing was looked at"]

        def holds() -> bool:
            if any(host.waiting() for host in self.hosts.values()):
                broken[:] = [f"{name}: {host.waiting()} items wait" for name, host in self.hosts.items()]
                return False
            broken[:] = judge(self.evidence(with_hub=is_last))
            return not broken

        with suppress(AssertionError):
            wait_until(holds, "every promise holds", REST_SEC, step_sec=0.5)
        assert not broken, "\n".join(broken[:20])

    def close(self) -> None:
        """Ends everything."""
        for host in self.hosts.values():
            host.client.close()
            host.daemon.kill_everything()
        for broker in self.brokers.values():
            with suppress(ProcessLookupError):
                broker.close()


@contextmanager
def running_wide_bed(server_program: Path | None = None) -> Generator[WideBed]:
    """Gives hosts that know each other; their files are kept if the test fails, those on the disks in `kept`.

    Args:
        server_program: of the hub's servers; None for the newest.
    """
    with short_directory() as directory, ExitStack() as stack:
        disks = {
            name: stack.enter_context(small_disk(directory / f"disk-{name}", DISK_BYTES)) for name in (*HOSTS, *SERVERS)
        }
        network = stack.enter_context(running_network(*HOSTS, *SERVERS, SPARE))
        bed = WideBed(directory, network, disks)
        stack.callback(bed.close)
        if server_program is not None:
            for broker in bed.brokers.values():
                broker.program = str(server_program)
        try:
            bed.start()
            yield bed
        except BaseException:
            _keep(bed)
            raise


def _keep(bed: WideBed) -> None:
    for name in HOSTS:
        with suppress(OSError, shutil.Error):
            bed.copy_disk(name, bed.directory / "kept" / name)


def _sockets(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(directory, name).is_file() or Path(directory, name).is_dir())]
