"""toy_workers — toy workers, and a daemon that runs them: everything is real except the work.

Run as a program, it is `mailroomd` with other children: TOY_CHILDREN holds a JSON list of [name, function]. Each worker
records its actions in the file TOY_JOURNAL, one line "name action pid epoch" each.
"""

import ctypes
import errno
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection
from pathlib import Path
from unittest import mock

from mailroomd.cli.main import main
from mailroomd.model.settings import Settings
from mailroomd.supervisor import daemon, state_lock
from mailroomd.supervisor.child import ChildSpec
from mailroomd.worker.runner import CannotStart, WorkerContext

TOY_SHUTDOWN_SEC = 0.5
TOY_LOCK_PATIENCE_SEC = 2.0


def record(context: WorkerContext, action: str, journal: str) -> None:
    with Path(journal).open("a") as file:  # O_APPEND and one write: the lines of several workers do not mix
        file.write(f"{context.name} {action} {os.getpid()} {context.epoch}\n")


def work_until_stopped(context: WorkerContext) -> None:
    while not context.stop_requested():
        context.beat()
        connection.wait([context.control_fileno()], context.beat_interval_sec)


def obedient(context: WorkerContext, journal: str) -> None:
    record(context, "starts", journal)
    record(context, "ready", journal)
    context.report_ready()
    context.report_ready()
    work_until_stopped(context)
    record(context, "stops", journal)


def listening(context: WorkerContext, journal: str) -> None:
    context.report_addresses(["127.0.0.1:4711", "unix:/run/toy.sock"])
    obedient(context, journal)


def reloading(context: WorkerContext, journal: str) -> None:
    """Records its settings at the start and whenever they change."""
    context.report_ready()
    recorded = None
    while not context.stop_requested():
        if recorded != context.settings:
            recorded = context.settings
            record(context, f"max-unread-{recorded.max_unread}-{recorded.log_level}", journal)
        context.beat()
        connection.wait([context.control_fileno()], context.beat_interval_sec)


def mortal(context: WorkerContext, journal: str) -> None:
    record(context, "starts", journal)
    context.report_ready()
    raise SystemExit(3)


def starving(context: WorkerContext, journal: str) -> None:
    """Runs out of memory, then of descriptors, then works."""
    record(context, "starts", journal)
    context.report_ready()
    if context.epoch == 1:
        raise MemoryError
    if context.epoch == 2:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    work_until_stopped(context)


def losing(context: WorkerContext, journal: str) -> None:
    """Loses a thread of a pool for want of memory, then a plain one by a fault, and goes on beating."""
    record(context, "starts", journal)
    context.report_ready()
    if context.epoch == 1:
        pool = ThreadPoolExecutor(1)
        pool.submit(lambda: None).result()
        begun = threading.Event()
        lost = pool.submit(begun.wait)
        lost.set_result = out_of_memory  # the pool calls it outside the work
        begun.set()
    elif context.epoch == 2:
        threading.Thread(target=faulty, args=(context, journal)).start()
    work_until_stopped(context)


def out_of_memory(result: object) -> None:
    raise MemoryError(result)


def faulty(context: WorkerContext, journal: str) -> None:
    record(context, "starts", journal)
    raise RuntimeError("a toy is broken")


def refusing(context: WorkerContext, journal: str) -> None:
    record(context, "starts", journal)
    raise CannotStart("the toy database is newer than this daemon; upgrade the daemon", 78)


def reporting(context: WorkerContext, journal: str) -> None:
    record(context, "starts", journal)
    context.report_cannot_start("the toy root is not writable", 73)


def deaf(context: WorkerContext, journal: str) -> None:
    record(context, "starts", journal)
    context.report_ready()
    while True:
        context.beat()
        time.sleep(context.beat_interval_sec)


def clumsy(context: WorkerContext, journal: str) -> None:
    record(context, "starts", journal)
    context.report_ready()
    work_until_stopped(context)
    raise SystemExit(9)


def lingering(context: WorkerContext, journal: str) -> None:
    """Outlives its supervisor, as no worker should, until the file "leave" exists."""
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    record(context, "starts", journal)
    context.report_ready()
    while not Path(journal).with_name("leave").exists():
        context.beat()
        time.sleep(0.01)


def toy_children(_settings: Settings) -> tuple[ChildSpec, ...]:
    journal = os.environ["TOY_JOURNAL"]
    return tuple(
        ChildSpec(name, f"support.fakes.toy_workers:{function}", lambda _: journal, TOY_SHUTDOWN_SEC, name)
        for name, function in json.loads(os.environ["TOY_CHILDREN"])
    )


if __name__ == "__main__":
    with (
        mock.patch.object(daemon, "mailroom_children", toy_children),
        mock.patch.object(state_lock, "PATIENCE_SEC", TOY_LOCK_PATIENCE_SEC),
    ):
        raise SystemExit(main())
