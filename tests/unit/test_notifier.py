"""The line to the service manager."""

import os
import socket
from pathlib import Path

from mailroomd.supervisor.notifier import Notifier
from support.fakes.service_socket import service_socket


def test_words_arrive_in_one_datagram_each_on_a_line_of_its_own(tmp_path: Path) -> None:
    with service_socket(tmp_path / "n") as systemd:
        Notifier(systemd.address).notify(READY=1, STATUS="Takes\nno  mail")
        assert systemd.heard() == [{"READY": "1", "STATUS": "Takes no mail"}]


def test_an_address_in_the_abstract_namespace_is_understood() -> None:
    name = f"mailroom-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(5)
        Notifier(f"@{name}").notify(STOPPING=1)
        assert receiver.recv(100) == b"STOPPING=1"


def test_without_a_service_manager_or_when_it_is_gone_nothing_happens(tmp_path: Path) -> None:
    Notifier().notify(READY=1)
    Notifier(str(tmp_path / "nobody")).notify(READY=1)


def test_a_queue_that_is_full_is_not_waited_for(tmp_path: Path) -> None:
    with service_socket(tmp_path / "n") as systemd:
        notifier = Notifier(systemd.address)
        for _ in range(2000):
            notifier.notify(STATUS="x" * 200)
        assert 0 < len(systemd.heard()) < 2000


def test_the_environment_says_where_and_how_often_and_is_not_passed_on(tmp_path: Path) -> None:
    with service_socket(tmp_path / "n") as systemd:
        environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}
        notifier = Notifier.from_environment(environ)
        assert environ == {}
        assert notifier.is_connected
        assert notifier.watchdog_sec == 2.5


def test_a_watchdog_that_is_another_process_s_is_not_ours() -> None:
    assert Notifier.from_environment({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}).watchdog_sec == 0
    assert Notifier.from_environment({"WATCHDOG_USEC": "2500000"}).watchdog_sec == 2.5
    assert not Notifier.from_environment({}).is_connected
