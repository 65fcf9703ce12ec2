"""Each file of the state directory is removed or replaced below a running daemon: no send is acknowledged into it."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.contract import error_reason
from support.harness.daemon import Daemon, short_directory
from support.harness.waiting import BOUND_SEC

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


def send(daemon: Daemon, content: str) -> str:
    with daemon.calls() as calls:
        request = pb.SendMessageRequest(recipient="bob", sender="amy", content=content)
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


@pytest.mark.parametrize("name", ["reserve", "addresses", "tokens.json"])
def test_other_files_of_the_state_directory_may_go_without_harm(name: str) -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        daemon.start()
        try:
            with suppress(FileNotFoundError):
                (daemon.state_dir / name).unlink()
            sent = send(daemon, "kept")
            assert daemon.stop() == 0
            daemon.start()
            with daemon.calls() as calls:
                assert calls.get_message(pb.GetMessageRequest(id=sent), timeout=BOUND_SEC).message.content == "kept"
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()
