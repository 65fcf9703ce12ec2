"""A shortage that hits a running daemon delays a worker's restart; it neither counts as a crash nor ends the daemon."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from mailroomd.command_queue.opening import open_in_root, open_store
from mailroomd.storage.database.connection import DATABASE_NAME
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.worker.context import CannotStart, CannotStartYet, WorkerContext
from support.harness.deployment import Deployment, new_deployment
from support.harness.waiting import BOUND_SEC, wait_until

NO_PROCESS = "cannot start a process for the worker"
NOT_LOADED = "worker ended before its code was loaded"
OUT_OF = "worker ran out of memory or descriptors"
MARGIN_BYTES = 3 << 20  # of address space: enough for the supervisor, too little for a worker beside the mailbox table


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with new_deployment() as created:
        created.daemon.base_flags = ("--max-restarts", "1/600")  # the kill of the test, and nothing else
        created.start()
        yield created


def one_more_descriptor(pid: int) -> int:
    return max(int(link.name) for link in Path(f"/proc/{pid}/fd").iterdir()) + 2


def little_more_memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmSize:")) + MARGIN_BYTES


def delays(deployment: Deployment, *events: str) -> list[float]:
    whole_lines = deployment.log().rpartition("\n")[0].splitlines()  # another may be on its way to the file
    lines = [json.loads(line) for line in whole_lines if line.startswith("{")]
    return [line["restart_in_sec"] for line in lines if line["event"] in events]


@pytest.mark.parametrize(
    ("limit", "room", "events"),
    [
        (resource.RLIMIT_NOFILE, one_more_descriptor, (NO_PROCESS,)),
        (resource.RLIMIT_AS, little_more_memory, (NO_PROCESS, NOT_LOADED, OUT_OF)),
    ],
    ids=["descriptors", "memory"],
)
@pytest.mark.parametrize("worker", ["command-queue", "gateway"])
def test_a_worker_that_cannot_be_started_for_now_is_started_later(
    deployment: Deployment, worker: str, limit: int, room: Callable[[int], int], events: tuple[str, ...]
) -> None:
    sent = deployment.send("bob", "before").message.id
    pid = deployment.daemon.pid
    killed = {worker: deployment.daemon.workers()[worker].pid}
    soft, hard = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (room(pid), hard))
    os.kill(killed[worker], signal.SIGKILL)
    process = deployment.process
    assert process is not None
    wait_until(lambda: process.poll() is not None or len(delays(deployment, *events)) >= 2, "two tries")
    assert process.poll() is None, deployment.log()[-2000:]
    resource.prlimit(pid, limit, (soft, hard))
    deployment.daemon.wait_replaced(killed)
    later = deployment.send("bob", "after").message.id
    assert [message.id for message in deployment.check("bob").messages] == [sent, later]


STARVED_OPENING = """
import os, resource, sqlite3, sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from mailroomd.command_queue.opening import open_in_root, open_store
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.worker.context import CannotStart, CannotStartYet
directory = Path(sys.argv[1])
context = SimpleNamespace(
    epoch=int(sys.argv[2]), lock=None, beat=lambda: None, settings=SimpleNamespace(root=directory, state_dir=directory)
)
kept, held = [open_in_root(context, InboxFiles), open_store(context)], []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for open_one in (lambda: open_in_root(context, InboxFiles), lambda: open_store(context)):
    try:
        open_one()
    except (CannotStart, CannotStartYet, sqlite3.Error) as error:
        print(type(error).__name__)
"""


def test_a_restarted_worker_without_descriptors_may_open_its_files_later(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARVED_OPENING, str(tmp_path), "2"],
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )
    assert done.stdout.split() == ["CannotStartYet", "CannotStartYet"], done.stderr


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_locked_database_is_opened_later_and_a_forbidden_one_never(tmp_path: Path, epoch: int) -> None:
    context = cast(
        WorkerContext,
        SimpleNamespace(epoch=epoch, lock=None, beat=lambda: None, settings=SimpleNamespace(state_dir=tmp_path)),
    )
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CannotStartYet, match="locked"):
            open_store(context)
    (tmp_path / DATABASE_NAME).unlink()
    (tmp_path / DATABASE_NAME).mkdir()
    with pytest.raises(CannotStart, match="cannot be opened") as refusal:
        open_store(context)
    assert refusal.value.exit_code == 73


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_file_in_the_place_of_a_directory_needs_the_operator(tmp_path: Path, epoch: int) -> None:
    (tmp_path / "inbox").touch()
    context = cast(WorkerContext, SimpleNamespace(epoch=epoch, settings=SimpleNamespace(root=tmp_path)))
    with pytest.raises(CannotStart, match="cannot be used") as refusal:
        open_in_root(context, InboxFiles)
    assert refusal.value.exit_code == 73


def test_lost_sockets_never_end_the_daemon_however_often(deployment: Deployment) -> None:
    path = Path(deployment.target.removeprefix("unix:"))
    for number in range(3):
        gateway = {"gateway": deployment.daemon.workers()["gateway"].pid}
        path.unlink()
        status = deployment.daemon.wait_replaced(gateway)["gateway"]
        assert status.last_exit == "exited with code 75"
        deployment.send("bob", str(number))
    assert deployment.stop() == 0
