"""ServiceSocket — the service manager's end of sd_notify, for tests that read what a daemon reports."""

__all__ = ["ServiceSocket", "service_socket"]

import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class ServiceSocket:
    """Receives notifications at `address`; keeps all of them, in order."""

    def __init__(self, receiver: socket.socket, address: str) -> None:
        self._receiver = receiver
        self.address = address
        self._received: list[dict[str, str]] = []

    def received(self) -> list[dict[str, str]]:
        """Returns every notification so far: one mapping per datagram."""
        while True:
            try:
                text = self._receiver.recv(65536).decode()
            except BlockingIOError:
                return self._received
            self._received.append(dict(line.split("=", 1) for line in text.split("\n")))

    def values(self, name: str) -> list[str]:
        """Returns every value that a variable has had so far."""
        return [variables[name] for variables in self.received() if name in variables]


@contextmanager
def service_socket(path: Path) -> Generator[ServiceSocket]:
    """Provides the service manager's end, bound to a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.setblocking(False)  # noqa: FBT003 - a method of the standard library
        yield ServiceSocket(receiver, str(path))
