"""Notifier — the daemon's line to the service manager: sd_notify(3) in plain socket code.

Owns the way to the socket that NOTIFY_SOCKET names. What is worth saying is decided by `supervisor.service_report`.
Started by hand there is nobody to notify, and all of it does nothing. Source of the words: sd_notify(3).
Invariant: whoever listens, or doesn't, never disturbs the daemon.
"""

__all__ = ["Notifier"]

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Self


class Notifier:
    """Sends datagrams of `NAME=value` lines.

    Args:
        address: the socket's path, `@` first for the abstract namespace; empty when there is nobody to notify.
        watchdog_sec: the service is taken for hung after so long without WATCHDOG=1; 0 without a watchdog.
    """

    def __init__(self, address: str = "", watchdog_sec: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_sec = watchdog_sec

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Self:
        """Returns the line that systemd has laid; takes its variables away, which are not for the workers."""
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_ours = usec.isdigit() and pid in ("", str(os.getpid()))
        return cls(address, int(usec) / 1e6 if is_ours else 0.0)

    @property
    def is_connected(self) -> bool:
        """Whether there is somebody to notify."""
        return bool(self._address)

    def notify(self, **words: object) -> None:
        """Sends words in one datagram, for example `notify(READY=1)`; never waits."""
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in words.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.sendto(
                text.encode(errors="replace"), self._address
            )  # fails when the queue is full; the next may not
