"""Bed — daemons on several hosts and their hub, on one machine: real processes, a real nats-server, loopback.

Owns their directories, and the note of what was accepted. `check` compares that with what every host has. Not here: the
faults (the tests).
"""

__all__ = ["Bed", "Host", "running_bed"]

import sqlite3
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.core.host_directory import HostDirectory
from mailroomd.operator.hub.joining import join
from mailroomd.operator.hub.setting_up import Hub, add_host, remove_host, write_server_config
from support.harness.client import Client
from support.harness.daemon import MAILROOMD, Daemon, short_directory
from support.harness.waiting import wait_until
from support.hosts.broker import Broker

FLAGS = ("--max-restarts", "1000/10")  # workers may be silent as long as by default: six disks are slow together
REST_SEC = 90.0  # for everything to arrive, once nothing is broken any more


class Host:
    """One host: a daemon that has joined the hub, and a client of it.

    Args:
        name: its name.
        directory: holds everything of it.
        where: what starts a program on its machine; the command follows.
    """

    def __init__(self, name: str, directory: Path, where: Sequence[str] = ()) -> None:
        directory.mkdir()
        self.name = name
        self.daemon = Daemon(directory, program=(*where, MAILROOMD), base_flags=FLAGS)
        self.client = Client(self.daemon.address)

    def join(self, invitation: Path, servers: Sequence[str] = ()) -> None:
        """Joins the hub; `servers` are those that it is told of, in place of all."""
        self.daemon.state_dir.mkdir(mode=0o700, exist_ok=True)
        path, _ = join(invitation, self.daemon.state_dir, servers)
        self.daemon.flags = ("--hub", str(path))

    def knows(self, host: str) -> bool:
        """Returns whether it has seen another host."""
        return host in HostDirectory(self.daemon.state_dir).content().hosts

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Reads its database."""
        uri = f"file:{self.daemon.database}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as connection:
            return connection.execute(sql, values).fetchall()

    def contents(self, mailbox: str) -> list[str]:
        """Returns what a mailbox holds, oldest first, read or not."""
        found = self.rows("SELECT content FROM messages WHERE recipient = ? ORDER BY id", mailbox)
        return [str(content) for (content,) in found]

    def waiting(self) -> int:
        """Returns how many items wait for other hosts."""
        count = self.rows("SELECT count(*) FROM forward_queue")[0][0]
        assert isinstance(count, int)
        return count


class Bed:
    """Hosts and their hub.

    Attributes:
        directory: holds everything.
        broker: the hub's server; of a cluster, the first one.
        brokers: all of them.
        hosts: by name.
        accepted: (sender's host, address, content) of each message that a daemon accepted, in order.
    """

    def __init__(self, directory: Path, names: Iterable[str], servers: int = 1, knows_servers: int = 0) -> None:
        self.directory = directory
        numbers = range(1, servers + 1) if servers > 1 else [0]
        self.brokers = [Broker(directory / "hub", number) for number in numbers]
        self.broker = self.brokers[0]
        self.hub = Hub([broker.url for broker in self.brokers], f"127.0.0.1:{self.broker.port}")
        self.hosts = {name: Host(name, directory / name) for name in names}
        self.accepted: list[tuple[str, str, str]] = []
        for name, host in self.hosts.items():
            host.join(add_host(self.hub, name, self.broker.directory), self.hub.servers[:knows_servers])
        write_server_config(self.hub, self.broker.directory)

    def start(self) -> None:
        """Starts everything, and waits until the hosts know each other."""
        for broker in self.brokers:
            broker.launch()
        for broker in self.brokers:
            wait_until(broker.is_ready, f"{broker.url} is ready", 60.0)
        for host in self.hosts.values():
            host.daemon.start()
        self.wait_acquainted()

    def wait_acquainted(self) -> None:
        """Waits until each host has seen each other."""
        for host in self.hosts.values():
            for other in self.hosts:
                if other != host.name:
                    wait_until(lambda host=host, other=other: host.knows(other), f"{host.name} has seen {other}", 60.0)

    def answers(self, name: str) -> bool:
        """Returns whether a host's daemon answers."""
        return bool(self.hosts[name].daemon.workers())

    def remove(self, name: str) -> None:
        """Takes the rights of a host away."""
        remove_host(self.hub, name, self.broker.directory)
        write_server_config(self.hub, self.broker.directory)
        for broker in self.brokers:
            broker.reload()

    def send(self, host: str, address: str, *contents: str, sender: str = "amy") -> list[pb.SendMessageResponse]:
        """Has a host accept messages."""
        responses: list[pb.SendMessageResponse] = []
        for content in contents:
            responses.append(self.hosts[host].client.send(address, content, sender=sender))
            self.accepted.append((host, address, content))
        return responses

    def expected(self, host: str, mailbox: str) -> list[tuple[str, str]]:
        """Returns (sender's host, content) of what a mailbox has to hold."""
        address = f"{mailbox}:{host}"
        return [(sender, content) for sender, recipient, content in self.accepted if recipient == address]

    def wait_at_rest(self) -> None:
        """Waits until nothing waits for another host any more, and checks everything."""
        wait_until(
            lambda: not any(host.waiting() for host in self.hosts.values()),
            "nothing waits for another host",
            REST_SEC,
            step_sec=0.1,
        )
        self.check()

    def check(self) -> None:
        """Fails unless each accepted message is in its mailbox exactly once, in its host's order, and known to be."""
        for address in {address for _, address, _ in self.accepted}:
            mailbox, _, name = address.partition(":")
            host = self.hosts[name]
            arrived = Counter(host.contents(mailbox))
            expected = self.expected(name, mailbox)
            assert not [content for content, times in arrived.items() if times > 1], f"doubled at {name}: {arrived}"
            lost = [content for _, content in expected if content not in arrived]
            assert not lost, f"lost on the way to {address}: {lost[:5]} and {len(lost)} in all"
            for sender in self.hosts:
                sent = [content for origin, content in expected if origin == sender]
                assert [content for content in host.contents(mailbox) if content in set(sent)] == sent, "out of order"
        for host in self.hosts.values():
            unknown = host.rows(
                "SELECT m.id FROM messages m JOIN departures d ON d.id = m.id WHERE m.state = 1 AND d.reason = ''"
            )
            assert not unknown, f"{host.name} does not know what became of {unknown}"

    def close(self) -> None:
        """Ends everything."""
        for host in self.hosts.values():
            host.client.close()
            host.daemon.kill_everything()
        for broker in self.brokers:
            broker.close()


@contextmanager
def running_bed(*names: str, servers: int = 1, knows_servers: int = 0) -> Generator[Bed]:
    """Gives hosts that know each other, and their hub of one server or several; files are kept if the test fails."""
    with short_directory() as directory:
        bed = Bed(directory, names, servers, knows_servers)
        try:
            bed.start()
            yield bed
        finally:
            bed.close()
