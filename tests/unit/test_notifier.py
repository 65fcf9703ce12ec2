"""Notifications to the service manager."""

import os
import socket
from pathlib import Path

from mailroomd.supervisor.notifier import Notifier
from support.fakes.service_socket import service_socket


def test_variables_arrive_in_one_datagram_one_per_line(tmp_path: Path) -> None:
    with service_socket(tmp_path / "n") as systemd:
        Notifier(systemd.address).notify(READY=1, STATUS="Not\naccepting  mail")
        assert systemd.received() == [{"READY": "1", "STATUS": "Not accepting mail"}]


def test_an_address_in_the_abstract_namespace_works() -> None:
    name = f"mailroom-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(5)
        Notifier(f"@{name}").notify(STOPPING=1)
        assert receiver.recv(100) == b"STOPPING=1"


def test_nothing_happens_without_a_service_manager(tmp_path: Path) -> None:
    Notifier().notify(READY=1)
    Notifier(str(tmp_path / "missing")).notify(READY=1)


def test_a_full_queue_does_not_block(tmp_path: Path) -> None:
    with service_socket(tmp_path / "n") as systemd:
        notifier = Notifier(systemd.address)
        for _ in range(2000):
            notifier.notify(STATUS="x" * 200)
        assert 0 < len(systemd.received()) < 2000


def test_the_variables_are_read_and_removed_from_the_environment(tmp_path: Path) -> None:
    with service_socket(tmp_path / "n") as systemd:
        environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}
        notifier = Notifier.from_environment(environ)
        assert environ == {}
        assert notifier.is_connected
        assert notifier.watchdog_sec == 2.5


def test_a_watchdog_for_another_process_is_ignored() -> None:
    assert Notifier.from_environment({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}).watchdog_sec == 0
    assert Notifier.from_environment({"WATCHDOG_USEC": "2500000"}).watchdog_sec == 2.5
    assert not Notifier.from_environment({}).is_connected
