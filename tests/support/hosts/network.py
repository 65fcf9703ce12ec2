"""Network — the machines of a bed, each in a network namespace of its own, and the lines between them.

Owns the namespaces and the process that carries their frames (`wire`). They reach each other and nothing else: no
interface leads out, so their addresses mean nothing to the machine of the test. Needs root; `Network` fails the test
otherwise, and says what it needs. A later run removes what a test left behind that was killed.
"""

__all__ = ["Machine", "Network", "running_network"]

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from support.hosts.wire import enter_namespace

PREFIX = "mailroom"
SUBNET = "10.77.0"
COMMAND_SEC = 20.0
_TESTS = Path(__file__).parents[2]

Found = TypeVar("Found")


@dataclass(frozen=True)
class Machine:
    """One of the machines.

    Attributes:
        namespace: that of its network.
        address: by which the others reach it.
    """

    namespace: str
    address: str

    def program(self) -> tuple[str, ...]:
        """Returns what starts a program on it; the command follows, and keeps the process id."""
        return ("nsenter", f"--net=/run/netns/{self.namespace}")

    def run(self, work: Callable[[], Found]) -> Found:
        """Returns what a function returns whose sockets are on this machine."""
        with ThreadPoolExecutor(1, initializer=enter_namespace, initargs=(self.namespace,)) as thread:
            return thread.submit(work).result()


class Network:
    """Machines and what is between them.

    Attributes:
        machines: by name.
    """

    def __init__(self, names: Sequence[str]) -> None:
        _remove_leftovers()
        mark = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(3)}"
        self.machines = {name: Machine(f"{mark}-{name}", f"{SUBNET}.{number}") for number, name in enumerate(names, 1)}
        for machine in self.machines.values():
            _ip("netns", "add", machine.namespace)
        namespaces = {name: machine.namespace for name, machine in self.machines.items()}
        self._wire = subprocess.Popen(
            [sys.executable, "-m", "support.hosts.wire", json.dumps(namespaces)],
            cwd=_TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C ends the test, which then ends this
        )
        assert self._wire.stdout is not None
        if self._wire.stdout.readline() != "ready\n":
            self.close()
            pytest.fail("this test needs a network of its own: run it as root, where /dev/net/tun can be opened")
        for number, machine in enumerate(self.machines.values(), 1):
            at = ("-n", machine.namespace)
            _ip(*at, "link", "set", "lo", "up")
            _ip(*at, "link", "set", "eth0", "address", f"02:00:00:00:00:{number:02x}", "addrgenmode", "none")
            _ip(*at, "address", "add", f"{machine.address}/24", "dev", "eth0")
            _ip(*at, "link", "set", "eth0", "up")

    # -- lines ----------------------------------------------------------------------------------------------------

    def set_line(self, source: str, to: str, **settings: float) -> None:
        """Gives the line from one machine to another its settings (`Line`); those that are not named are those of a
        line that works.
        """
        self._tell({"from": source, "to": to} | settings)

    def set_lines(self, some: Iterable[str], others: Iterable[str], **settings: float) -> None:
        """Does so for all lines from some machines to others."""
        receivers = list(others)
        for source in some:
            for to in receivers:
                if source != to:
                    self.set_line(source, to, **settings)

    def heal(self) -> None:
        """Makes all lines work again."""
        self.set_lines(self.machines, self.machines)

    def counts(self) -> dict[str, int]:
        """Returns how many frames were carried, refused, lost, doubled, reordered and delayed so far."""
        return self._tell({})

    def _tell(self, command: Mapping[str, object]) -> dict[str, int]:
        assert self._wire.stdin is not None
        assert self._wire.stdout is not None
        self._wire.stdin.write(json.dumps(command) + "\n")
        self._wire.stdin.flush()
        return json.loads(self._wire.stdout.readline())

    def close(self) -> None:
        """Takes everything away."""
        assert self._wire.stdin is not None
        assert self._wire.stdout is not None
        self._wire.stdin.close()
        self._wire.wait(COMMAND_SEC)
        self._wire.stdout.close()
        for machine in self.machines.values():
            _ip("netns", "delete", machine.namespace)


@contextmanager
def running_network(*machines: str) -> Generator[Network]:
    """Gives machines that reach each other."""
    network = Network(machines)
    try:
        yield network
    finally:
        network.close()


def _remove_leftovers() -> None:
    for line in _ip("netns", "list").splitlines():
        name = line.split()[0]
        prefix, _, rest = name.partition("-")
        owner = rest.partition("-")[0]
        if prefix == PREFIX and owner.isdigit() and not Path("/proc", owner).exists():
            _ip("netns", "delete", name)


def _ip(*arguments: str) -> str:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=COMMAND_SEC, check=False)
    except OSError as error:
        pytest.fail(f"this test needs Debian's iproute2 (`make test-hosts` installs it): {error}")
    if done.returncode:
        pytest.fail(f"this test needs network namespaces (run it as root): ip {' '.join(arguments)}: {done.stderr}")
    return done.stdout
