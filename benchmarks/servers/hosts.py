"""hosts — runs daemons on several hosts and the hub between them, all on this machine.

The hub is one nats-server, as `mailroom hub init` configures it: it syncs before it acknowledges. Not here: other uses
of nats-server (`brokers`).
"""

__all__ = ["HUB_COMMAND", "Host", "Hub", "running_hub", "send_one"]

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import grpc
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.core.host_directory import HostDirectory
from mailroomd.operator.hub.joining import join
from mailroomd.operator.hub.setting_up import Hub as HubDescription
from mailroomd.operator.hub.setting_up import add_host, write_server_config

from benchmarks.clients.control import SEND_MESSAGE, wait_until
from benchmarks.servers.daemon import Server, running
from benchmarks.servers.process import OutputReader, data_directory, free_port, launch, stop, wait_for_port

HUB_COMMAND = "nats-server, one server, sync_interval: always, as `mailroom hub init` configures it"
UNREAD = ("--max-unread", "10000000", "--max-forward-size", "16GiB")
ACQUAINTED_SEC = 60.0


class Hub:
    """The hub's server.

    Args:
        names: of the hosts that may join.
    """

    def __init__(self, *names: str) -> None:
        self._directory, self._port = data_directory(), free_port()
        url = f"nats://127.0.0.1:{self._port}"
        description = HubDescription([url], f"127.0.0.1:{self._port}")
        self._invitations = {name: add_host(description, name, self._directory) for name in names}
        self._config = write_server_config(description, self._directory)[0]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it, and waits until it takes connections."""
        program = str(Path(sys.executable).with_name("nats-server"))
        self._process = launch([program, "--config", str(self._config)], self._directory)
        OutputReader(self._process, lambda _: None)  # otherwise it would block on a full pipe
        wait_for_port(self._port)

    def stop(self) -> None:
        """Stops it."""
        if self._process is not None:
            stop(self._process)
            self._process = None

    def join(self, name: str) -> "Host":
        """Returns a host that has joined it."""
        return Host(name, self._invitations[name])


class Host:
    """One host: a daemon that can be stopped and started on the same directories."""

    def __init__(self, name: str, invitation: Path) -> None:
        self.name = name
        self.data = data_directory()
        self._state_dir = self.data / "state"
        self._hub_file, _ = join(invitation, self._state_dir)

    @contextmanager
    def running(self) -> Generator[Server]:
        """Runs its daemon."""
        with running("daemon", "--hub", str(self._hub_file), *UNREAD, data=self.data) as server:
            yield server

    def wait_acquainted(self, other: str) -> None:
        """Waits until it has seen another host, and mail is exchanged.

        Raises:
            TimeoutError: it has not in time.
        """

        def has_seen() -> bool:
            directory = HostDirectory(self._state_dir).content()
            return other in directory.hosts and directory.is_connected

        wait_until(has_seen, f"{self.name} has seen {other}", ACQUAINTED_SEC)


@contextmanager
def running_hub(*names: str) -> Generator[Hub]:
    """Runs a hub for hosts of these names."""
    hub = Hub(*names)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


def send_one(address: str, recipient: str) -> None:
    """Sends one message."""
    with grpc.insecure_channel(address) as channel:
        send = channel.unary_unary(
            SEND_MESSAGE,
            request_serializer=pb.SendMessageRequest.SerializeToString,
            response_deserializer=pb.SendMessageResponse.FromString,
        )
        send(pb.SendMessageRequest(recipient=recipient, sender="bench", content="first"), timeout=10.0)
