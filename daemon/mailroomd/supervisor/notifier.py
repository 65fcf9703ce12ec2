"""Notifier — sends notifications to the service manager: sd_notify(3) in plain socket code.

Owns the socket that NOTIFY_SOCKET names. What to send is decided by `supervisor.service_report`. Without a service
manager every call does nothing. Source of the protocol: sd_notify(3).
Invariant: a missing, slow or full socket never disturbs the daemon.
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
        address: the path of the socket, with a leading `@` for the abstract namespace; empty without a service manager.
        watchdog_sec: the service manager restarts the daemon after this long without WATCHDOG=1; 0 without a watchdog.
    """

    def __init__(self, address: str = "", watchdog_sec: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_sec = watchdog_sec

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Self:
        """Reads systemd's variables and removes them from the environment: they are not meant for the workers."""
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_ours = usec.isdigit() and pid in ("", str(os.getpid()))
        return cls(address, int(usec) / 1e6 if is_ours else 0.0)

    @property
    def is_connected(self) -> bool:
        """Whether there is a service manager to notify."""
        return bool(self._address)

    def notify(self, **variables: object) -> None:
        """Sends variables in one datagram, for example `notify(READY=1)`; never waits."""
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in variables.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.sendto(text.encode(errors="replace"), self._address)  # fails on a full queue; the next may not
