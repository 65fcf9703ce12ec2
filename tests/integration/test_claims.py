"""A socket path belongs to one daemon, unsafe directories are refused, and a broken TLS renewal changes nothing.

Starts mailroomd by itself, not by `Daemon`, which fails where a daemon does not become ready: here that is the point.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mailroom import Mailroom, MailroomError
from mailroom.state_lock import read_lock
from mailroomd.auth.token_file import TokenFile
from mailroomd.model.clock import now_ms
from support.harness.daemon import Daemon, short_directory
from support.harness.waiting import BOUND_SEC, wait_until


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


def run_daemon(state: Path, socket_path: Path, **environment: str) -> "subprocess.Popen[bytes]":
    flags = [f"--root={state}-root", f"--state-dir={state}", f"--listen=unix:{socket_path}"]
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("mailroomd")), *flags],
        env=os.environ | {"HOME": str(state)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def gateway_pid(path: Path) -> int:
    """Returns the process id of the gateway; 0 while none answers."""
    with suppress(MailroomError), Mailroom(f"unix:{path}", timeout=1.0) as client:
        return next(worker.pid for worker in client.status().workers if worker.name == "gateway")
    return 0


def wait_listening(path: Path, process: "subprocess.Popen[bytes]") -> None:
    def connects() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return process.poll() is not None or client.connect_ex(str(path)) == 0

    wait_until(connects, f"a daemon listens on {path}")


def send(path: Path) -> None:
    with Mailroom(f"unix:{path}", sender="amy") as amy:
        amy.send("bob", "hello")


def end(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    process.terminate()
    err = process.communicate(timeout=BOUND_SEC)[1].decode()
    return process.returncode, err


def test_of_two_daemons_started_at_once_on_one_socket_one_is_refused(directory: Path) -> None:
    path = directory / "s" / "m.sock"
    both = [run_daemon(directory / name, path) for name in ("a", "b")]
    wait_until(lambda: any(process.poll() is not None for process in both), "one daemon ends")
    (loser,) = [process for process in both if process.poll() is not None]
    (winner,) = [process for process in both if process is not loser]
    wait_listening(path, winner)
    send(path)
    assert loser.returncode == 75
    err = loser.communicate()[1].decode()
    assert f"mailroomd: mailroomd (pid {winner.pid}) already listens on {path}. Stop it, or choose another" in err
    assert end(winner)[0] == 0
    assert not path.exists()


def test_a_stopping_daemon_leaves_a_socket_that_another_program_has_put_there(directory: Path) -> None:
    path = directory / "s" / "m.sock"
    process = run_daemon(directory / "a", path)
    wait_listening(path, process)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert end(process)[0] == 0
        assert path.is_socket()


@pytest.mark.parametrize("change", ["remove", "rename", "replace"])
def test_a_socket_stays_with_its_daemon_when_its_lock_file_is_taken_away(directory: Path, change: str) -> None:
    path = directory / "s" / "m.sock"
    lock = path.with_name("m.sock.lock")
    process = run_daemon(directory / "a", path)
    wait_listening(path, process)
    gateway = wait_until(lambda: gateway_pid(path), "the gateway answers")
    before = lock.stat().st_ino
    if change == "rename":
        lock.rename(lock.with_suffix(".away"))
    else:
        (lock.with_suffix(".new")).touch(0o600)
        kept = lock.with_suffix(".kept")
        os.link(lock, kept)  # keeps its inode from being used again
        lock.with_suffix(".new").replace(lock) if change == "replace" else lock.unlink()
    wait_until(lambda: read_lock(lock).is_held, "the daemon locks its socket again")
    assert lock.stat().st_ino != before
    code, err = end_by_itself(run_daemon(directory / "b", path))
    assert (code, f"mailroomd (pid {process.pid}) already listens on {path}" in err) == (75, True)
    assert gateway_pid(path) == gateway
    send(path)
    assert end(process)[0] == 0
    assert not path.exists()


def test_a_socket_that_another_program_took_is_left_to_it(directory: Path) -> None:
    daemon = Daemon(directory)
    path = Path(daemon.address.removeprefix("unix:"))
    try:
        daemon.start()
        gateway = daemon.workers()["gateway"].pid
        with socket.socket(socket.AF_UNIX) as other:
            path.unlink()
            other.bind(str(path))
            other.listen()
            inode = path.stat().st_ino
            os.kill(gateway, signal.SIGKILL)
            wait_until(lambda: "another process listens there" in daemon.log(), "the daemon notices it")
            wait_until(lambda: "worker cannot start yet" in daemon.log(), "the next gateway waits")
            assert path.stat().st_ino == inode
        wait_until(lambda: gateway_pid(path), "the path is bound again once it is free")
        send(path)
        assert daemon.stop() == 0
    finally:
        daemon.kill_everything()


@pytest.mark.parametrize("name", ["addresses", "addresses.tmp", "reserve"])
def test_a_directory_in_place_of_a_file_of_the_state_directory_is_named_or_harmless(directory: Path, name: str) -> None:
    path = directory / "s" / "m.sock"
    (directory / "a").mkdir(mode=0o700)
    (directory / "a" / name).mkdir()
    process = run_daemon(directory / "a", path)
    wait_until(lambda: process.poll() is not None or gateway_pid(path), "the daemon ends or listens")
    if process.poll() is None:
        send(path)
        assert end(process)[0] == 0
    else:
        code, err = end_by_itself(process)
        assert (code, str(directory / "a" / name) in err) == (73, True), err


def test_a_lock_file_that_belongs_elsewhere_is_refused(directory: Path) -> None:
    path = directory / "s" / "m.sock"
    path.parent.mkdir(mode=0o700)
    target = directory / "victim"
    target.write_text("precious")
    path.with_name("m.sock.lock").symlink_to(target)
    code, err = end_by_itself(run_daemon(directory / "a", path))
    assert (code, target.read_text()) == (73, "precious")
    assert f"mailroomd: cannot write {path}.lock: " in err


def end_by_itself(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    err = process.communicate(timeout=BOUND_SEC)[1].decode()
    return process.returncode, err


@pytest.mark.parametrize(("parent_length", "length"), [(40, 107), (105, 107), (104, 107), (40, 50)])
def test_a_socket_path_of_any_lawful_length_can_be_bound_again(
    directory: Path, parent_length: int, length: int
) -> None:
    parent = directory / ("d" * (parent_length - len(str(directory)) - 1))
    path = parent / ("x" * (length - parent_length - 1))
    assert len(str(path)) == length
    process = run_daemon(directory / "a", path)
    wait_listening(path, process)
    gateway = gateway_pid(path)
    os.kill(gateway, signal.SIGKILL)
    wait_until(lambda: gateway_pid(path) not in (0, gateway), "the gateway is replaced")
    send(path)
    assert sorted(entry.name for entry in path.parent.iterdir()) == sorted([path.name, f"{path.name}.lock"])
    assert end(process)[0] == 0


@pytest.mark.parametrize("unsafe", ["a", "s"])
def test_a_directory_that_others_can_change_is_refused_with_the_remedy(directory: Path, unsafe: str) -> None:
    (directory / unsafe).mkdir()
    (directory / unsafe).chmod(0o777)
    code, err = end_by_itself(run_daemon(directory / "a", directory / "s" / "m.sock"))
    flag = {"a": "--state-dir", "s": "--listen"}[unsafe]
    sentence = f"every user can write to {directory / unsafe}. Run `chmod o-w {directory / unsafe}`, or choose another"
    assert (code, err) == (73, f"mailroomd: {sentence} {flag}.\n")


def openssl(directory: Path, name: str) -> None:
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        *subject,
    ]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    key.chmod(0o600)


@pytest.mark.system
def test_a_broken_tls_renewal_keeps_the_previous_certificate_in_use(directory: Path) -> None:
    for name in ("old", "new"):
        openssl(directory, name)
    key, certificate = directory / "k.pem", directory / "c.pem"
    key.touch(0o600)

    def install(name: str) -> None:
        key.write_bytes((directory / f"{name}.key").read_bytes())
        certificate.write_bytes((directory / f"{name}.crt").read_bytes())

    install("old")
    flags = ("--listen", "127.0.0.1:0", "--tls-cert", str(certificate), "--tls-key", str(key), "--log-format", "json")
    daemon = Daemon(directory, flags)
    token, _ = TokenFile(daemon.state_dir).create("bob", now_ms())

    def send_trusting(name: str) -> None:
        announced: list[str] = json.loads((daemon.state_dir / "addresses").read_text())
        address = next(address for address in announced if not address.startswith("unix:"))
        with Mailroom(address, sender="bob", token=token, tls_ca=str(directory / f"{name}.crt")) as bob:
            bob.send("amy", "hello")

    try:
        daemon.start()
        send_trusting("old")
        key.write_text("broken")
        daemon.wait_replaced(daemon.signal_workers(("gateway",), signal.SIGKILL))
        send_trusting("old")
        assert "TLS files unusable, keeping the previous certificate" in daemon.log()
        install("new")
        daemon.wait_replaced(daemon.signal_workers(("gateway",), signal.SIGKILL))
        send_trusting("new")
        assert daemon.stop() == 0
    finally:
        daemon.kill_everything()
