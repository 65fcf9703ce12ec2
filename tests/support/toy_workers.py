"""Toy workers, and a daemon of them: everything is real but the work.

Run as a program it is `mailroomd` with other children: TOY_CHILDREN has a JSON list of [name, function]. Each worker
writes what it does into the journal, TOY_JOURNAL: one line "name what pid epoch" each.
"""

import ctypes
import json
import os
import time
from multiprocessing import connection
from pathlib import Path
from unittest import mock

from mailroomd.cli.main import main
from mailroomd.model.settings import Settings
from mailroomd.processes.worker import CannotStart, WorkerSeat
from mailroomd.supervisor import daemon, state_lock
from mailroomd.supervisor.child import ChildSpec

TOY_SHUTDOWN_SEC = 0.5
TOY_LOCK_PATIENCE_SEC = 2.0


def note(seat: WorkerSeat, what: str, journal: str) -> None:
    with Path(journal).open("a") as file:  # O_APPEND, one write: lines of several workers do not mix
        file.write(f"{seat.name} {what} {os.getpid()} {seat.epoch}\n")


def work_until_stopped(seat: WorkerSeat) -> None:
    while not seat.stop_requested():
        seat.beat()
        connection.wait([seat.leash_fileno()], seat.beat_interval_sec)


def obedient(seat: WorkerSeat, journal: str) -> None:
    note(seat, "starts", journal)
    note(seat, "ready", journal)
    seat.ready()
    seat.ready()
    work_until_stopped(seat)
    note(seat, "stops", journal)


def listening(seat: WorkerSeat, journal: str) -> None:
    seat.announce(["127.0.0.1:4711", "unix:/run/toy.sock"])
    obedient(seat, journal)


def reloading(seat: WorkerSeat, journal: str) -> None:
    """Notes the settings that it has, at first and when they change."""
    seat.ready()
    noted = None
    while not seat.stop_requested():
        if noted != seat.settings:
            noted = seat.settings
            note(seat, f"max-unread-{noted.max_unread}-{noted.log_level}", journal)
        seat.beat()
        connection.wait([seat.leash_fileno()], seat.beat_interval_sec)


def mortal(seat: WorkerSeat, journal: str) -> None:
    note(seat, "starts", journal)
    seat.ready()
    raise SystemExit(3)


def faulty(seat: WorkerSeat, journal: str) -> None:
    note(seat, "starts", journal)
    raise RuntimeError("a toy is broken")


def refusing(seat: WorkerSeat, journal: str) -> None:
    note(seat, "starts", journal)
    raise CannotStart("the toy database is newer than this daemon: upgrade it", 78)


def reporting(seat: WorkerSeat, journal: str) -> None:
    note(seat, "starts", journal)
    seat.report_cannot_start("the toy root is not writable", 73)


def deaf(seat: WorkerSeat, journal: str) -> None:
    note(seat, "starts", journal)
    seat.ready()
    while True:
        seat.beat()
        time.sleep(seat.beat_interval_sec)


def clumsy(seat: WorkerSeat, journal: str) -> None:
    note(seat, "starts", journal)
    seat.ready()
    work_until_stopped(seat)
    raise SystemExit(9)


def lingering(seat: WorkerSeat, journal: str) -> None:
    """Outlives its supervisor, as no worker should, until the file "leave" is there."""
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    note(seat, "starts", journal)
    seat.ready()
    while not Path(journal).with_name("leave").exists():
        seat.beat()
        time.sleep(0.01)


def toy_children(_settings: Settings) -> tuple[ChildSpec, ...]:
    journal = os.environ["TOY_JOURNAL"]
    return tuple(
        ChildSpec(name, f"support.toy_workers:{function}", lambda _: journal, TOY_SHUTDOWN_SEC, name)
        for name, function in json.loads(os.environ["TOY_CHILDREN"])
    )


if __name__ == "__main__":
    with (
        mock.patch.object(daemon, "mailroom_children", toy_children),
        mock.patch.object(state_lock, "PATIENCE_SEC", TOY_LOCK_PATIENCE_SEC),
    ):
        raise SystemExit(main())
