"""ServiceSocket — the service manager's end of sd_notify, for tests that read what a daemon says."""

__all__ = ["ServiceSocket", "service_socket"]

import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class ServiceSocket:
    """Receives notifications at `address`; keeps all of them, in their order."""

    def __init__(self, receiver: socket.socket, address: str) -> None:
        self._receiver = receiver
        self.address = address
        self._heard: list[dict[str, str]] = []

    def heard(self) -> list[dict[str, str]]:
        """Everything that was said so far: one mapping for each datagram."""
        while True:
            try:
                text = self._receiver.recv(65536).decode()
            except BlockingIOError:
                return self._heard
            self._heard.append(dict(line.split("=", 1) for line in text.split("\n")))

    def values(self, name: str) -> list[str]:
        """Every value that a word had so far."""
        return [said[name] for said in self.heard() if name in said]


@contextmanager
def service_socket(path: Path) -> Generator[ServiceSocket]:
    """Gives the end that systemd would have, bound to a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.setblocking(False)  # noqa: FBT003 - a method of the standard library
        yield ServiceSocket(receiver, str(path))
