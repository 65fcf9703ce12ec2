"""Each file and directory of a running daemon is removed, renamed or replaced: no send is acknowledged into it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.token_file import TokenFile
from support.harness.command_line import run_here
from support.harness.contract import error_reason
from support.harness.daemon import Daemon, short_directory
from support.harness.waiting import BOUND_SEC, wait_until

DATABASE = ("mailroom.db", "mailroom.db-wal", "mailroom.db-shm")


def remove_all(daemon: Daemon) -> None:
    shutil.rmtree(daemon.state_dir)


def move_away(daemon: Daemon) -> None:
    daemon.state_dir.rename(daemon.state_dir.with_name("away"))


def put_an_old_copy_there(daemon: Daemon) -> None:
    for name in DATABASE:
        path = daemon.state_dir / name
        shutil.copy(path, path.with_suffix(".copy"))
        path.with_suffix(".copy").replace(path)


def remove_file(name: str) -> Callable[[Daemon], None]:
    def remove(daemon: Daemon) -> None:
        (daemon.state_dir / name).unlink()

    remove.__name__ = f"remove {name}"
    return remove


CHANGES = [remove_all, move_away, put_an_old_copy_there, *map(remove_file, (*DATABASE, "mailroomd.lock"))]


def send(daemon: Daemon, content: str, recipient: str = "bob") -> str:
    with daemon.calls() as calls:
        request = pb.SendMessageRequest(recipient=recipient, sender="amy", content=content)
        return calls.send(request, timeout=BOUND_SEC, wait_for_ready=True).message.id


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_send_into_files_that_were_taken_away_is_refused_and_the_daemon_stops(
    change: Callable[[Daemon], None],
) -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        daemon.start()
        try:
            send(daemon, "before")
            change(daemon)
            with pytest.raises(grpc.RpcError) as caught:
                send(daemon, "lost")
            assert error_reason(caught.value) == "STORAGE_FAILED"
            assert "was removed or replaced while mailroomd was running" in str(caught.value.details())
            assert daemon.process is not None
            assert daemon.process.wait(BOUND_SEC) == os.EX_CONFIG
            assert "database file removed or replaced" in daemon.log()
            assert "Traceback" not in daemon.log()
        finally:
            daemon.kill_everything()


def path_of(daemon: Daemon, name: str) -> Path:
    place, _, rest = name.partition("/")
    return {
        "state": daemon.state_dir,
        "root": daemon.root,
        "socket": Path(daemon.address.removeprefix("unix:")).parent,
    }[place] / rest


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_name("aside"))


def replace(path: Path) -> None:
    """Puts a directory in the place of a file, and a file in that of a directory."""
    was_directory = path.is_dir()
    remove(path)
    path.touch() if was_directory else path.mkdir()


# What the doctor names while something is gone, and while something else is in its place; nothing if the daemon does
# not need it, or has put it there again. The files of the database and its lock are above, the socket is below.
NAMES = {
    "state/reserve": ("reserve", "reserve"),
    "state/addresses": ("addresses", "addresses"),
    "state/tokens.json": ("", "tokens"),  # without the file there are no tokens
    "socket/mailroom.sock.lock": ("", "socket"),
    "root/outbox": ("", "outbox directory"),
    "root/outbox/s1": ("", ""),
    "root/teams": ("", "teams directory"),
    "root/inbox/.tmp": ("", ""),
    "root/inbox": ("", "inbox directory"),
    "root/inbox/bob": ("", "inbox of bob"),
}


@pytest.mark.parametrize("change", [remove, rename, replace], ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_the_doctor_names_what_was_taken_away_and_no_send_is_lost(name: str, change: Callable[[Path], None]) -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        daemon.start()
        try:
            TokenFile(daemon.state_dir).create("amy", 0)
            (daemon.root / "teams" / "team" / "inboxes").mkdir(parents=True)
            sent = [send(daemon, "before"), send(daemon, "before", recipient="bob@team")]
            (daemon.root / "outbox" / "s1").mkdir()
            change(path_of(daemon, name))
            sent.append(send(daemon, "after"))
            expected = NAMES[name][change is replace]
            wait_until(lambda: named_by_doctor(daemon) == ({expected} if expected else set()), f"{expected!r} is named")
            replaced = path_of(daemon, name)
            if change is replace:
                remove(replaced)
            assert daemon.stop() == 0
            daemon.start()
            with daemon.calls() as calls:
                for message_id in sent:
                    assert calls.get_message(pb.GetMessageRequest(id=message_id), timeout=BOUND_SEC).message.content
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()


def named_by_doctor(daemon: Daemon) -> set[str]:
    """Returns the checks of the doctor that find something; not restarts of workers, which come and go."""
    places = ("--root", str(daemon.root), "--state-dir", str(daemon.state_dir))
    findings = [one for one in run_here(daemon.address, "doctor", "--json", *places).json if one["level"] != "ok"]
    return {finding["check"] for finding in findings if not finding["check"].startswith("worker ")}
