"""Failing disks, replaced directories, and processes without descriptors or memory, under load.

Each fault comes and goes while a load runs; no client may see more than "send again", and the checker judges the rest.
"""

import errno
import os
import resource
import shutil
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.faults.failing_io import FailingIo
from support.faults.load import Load
from support.faults.small_disk import Unmountable, place_on, small_disk
from support.faults.under_load import Trial, daemon_under_load
from support.harness.daemon import WORKERS, Daemon, short_directory
from support.harness.waiting import chance, chosen, is_campaign, pause, wait_until

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(600)]

FAULTS = 5 if is_campaign() else 1
LASTS_SEC = 0.6  # some commits, and more than one retry
SENDS_PER_SEC = 100.0
MAILBOX = "r2"  # nobody reads it
DATABASE, LOG = "mailroom.db", "mailroom.db-wal"
CALLS = [
    ("fdatasync", LOG),
    ("fsync", LOG),
    ("pwrite", LOG),
    ("pwrite", DATABASE),
    ("syncfs", "inbox"),
    ("write", "inbox/.tmp"),
    ("fsync", "inbox"),
    ("fsync", "teams"),
]


@contextmanager
def trial_of(daemon: Daemon, kind: str, *, on_files: bool = True) -> Generator[Trial]:
    seed = chance(kind).randrange(1 << 32)
    with daemon_under_load(
        daemon, kind, seed, is_watched=False, on_files=on_files, sends_per_sec=SENDS_PER_SEC
    ) as trial:
        trial.load.wait_for_progress()
        yield trial
        trial.faults = FAULTS


@pytest.mark.parametrize(("call", "part"), chosen(CALLS, ("fdatasync", LOG), ("write", "inbox/.tmp")))
def test_a_call_that_fails_for_a_while_breaks_no_promise(call: str, part: str) -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        io = FailingIo.of(daemon)
        with trial_of(daemon, "failing calls (EIO)") as trial:
            for _ in range(FAULTS):
                with io.failing(call, part):
                    pause(LASTS_SEC)
                trial.load.wait_for_progress()


def test_nothing_is_acknowledged_while_the_log_cannot_be_synced() -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        io = FailingIo.of(daemon)
        with trial_of(daemon, "failing calls (EIO)") as trial:
            with io.failing("fdatasync", LOG):
                pause(LASTS_SEC)  # what was on its way
                before = acknowledged(trial.load)
                pause(LASTS_SEC)
                assert acknowledged(trial.load) == before
                assert "fsync failed" in daemon.log() or "database not written" in daemon.log()
            trial.load.wait_for_progress()


def acknowledged(load: Load) -> int:
    return len((load.directory / "sends.jsonl").read_bytes().splitlines())


# -- directories ------------------------------------------------------------------------------------------------------


def remove(place: Path, _: Path) -> None:
    remove_all(place)


def replace_by_a_file(place: Path, _: Path) -> None:
    remove_all(place)
    put(lambda: place.write_text("in the way"))


def replace_by_a_link(place: Path, elsewhere: Path) -> None:
    remove_all(place)
    put(lambda: place.symlink_to(elsewhere))


def make_unreadable_by_moving_it_away(place: Path, elsewhere: Path) -> None:
    place.rename(elsewhere.with_name("moved"))
    put(lambda: place.symlink_to(elsewhere))


def remove_all(place: Path) -> None:
    """Removes a directory into which the daemon may be writing, until it notices that its path is gone."""
    beside = place.with_name(f".{place.name}-going")
    place.rename(beside)
    wait_until(lambda: has_been_removed(beside), "nothing is written into it any more")


def has_been_removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def put(make: Callable[[], object]) -> None:
    """Puts something where a directory was, unless the daemon has created it again already."""
    with suppress(FileExistsError, IsADirectoryError):
        make()


def mend(place: Path, elsewhere: Path) -> None:
    if place.is_symlink() or place.is_file():
        place.unlink()
    moved = elsewhere.with_name("moved")
    if moved.is_dir() and (place.is_dir() or not is_put_back(moved, place)):
        shutil.rmtree(moved)


def is_put_back(moved: Path, place: Path) -> bool:
    """Puts a directory back, unless the daemon has created and filled another one in its place."""
    try:
        moved.rename(place)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            return False
        raise
    return True


SPOILED = [
    (what, spoil)
    for what in ("one inbox", "all inboxes")
    for spoil in (remove, replace_by_a_file, replace_by_a_link, make_unreadable_by_moving_it_away)
]


@pytest.mark.parametrize(
    ("what", "spoil"),
    chosen(SPOILED, ("one inbox", replace_by_a_link), ("all inboxes", remove)),
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_replaced_inbox_is_filed_again_and_no_link_is_followed(
    what: str, spoil: Callable[[Path, Path], None]
) -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        elsewhere = directory / "elsewhere"
        elsewhere.mkdir()
        # what an agent takes while its directory is filed again is known as read only after the next start
        with trial_of(daemon, "spoiled directories", on_files=what == "one inbox") as trial:
            place = daemon.inbox / MAILBOX if what == "one inbox" else daemon.inbox
            for _ in range(FAULTS):
                wait_until(place.is_dir, "it is there")
                spoil(place, elsewhere)
                pause(LASTS_SEC)
                trial.load.wait_for_progress()
                mend(place, elsewhere)
                trial.load.wait_for_progress()
        assert list(elsewhere.iterdir()) == []


def test_inboxes_that_are_read_only_for_a_while_are_filed_at_last() -> None:
    with short_directory() as directory, small_disk(directory / "disk") as disk:
        daemon = Daemon(directory)
        place_on(disk, daemon, ["root"])
        # what an agent takes between the late writing of its file and the commit of that counts from the next start on
        with trial_of(daemon, "read-only disks", on_files=False) as trial:
            for _ in range(FAULTS):
                wait_until(lambda: has_become_read_only(disk.make_read_only), "no file is open for writing")
                pause(LASTS_SEC)
                trial.load.wait_for_progress()
                disk.make_writable()
                trial.load.wait_for_progress()
            daemon.kill_supervisor()  # files of mail that was read meanwhile go at the next start
            daemon.start()
            trial.load.wait_for_progress()


def has_become_read_only(make: Callable[[], None]) -> bool:
    try:
        make()
    except Unmountable as error:
        if "busy" in str(error):
            return False
        raise
    return True


def test_a_database_on_a_read_only_disk_accepts_nothing_and_loses_nothing() -> None:
    with short_directory() as directory, small_disk(directory / "disk") as disk:
        daemon = Daemon(directory)
        place_on(disk, daemon, ["state"])
        with trial_of(daemon, "read-only disks") as trial:
            for _ in range(FAULTS):
                stopped = daemon.signal_workers(["command-queue"], signal.SIGSTOP)  # no sync on its way: facts.md
                disk.report_an_error()
                os.kill(stopped["command-queue"], signal.SIGCONT)
                pause(LASTS_SEC)
                daemon.kill_supervisor()
                daemon.assert_no_process_left()
                disk.remount()
                daemon.start()
                trial.load.wait_for_progress()


# -- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", chosen(WORKERS, "command-queue"))
def test_a_worker_that_has_no_descriptor_left_for_a_while_breaks_no_promise(name: str) -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        with trial_of(daemon, "no descriptors") as trial:
            for _ in range(FAULTS):
                pid = daemon.workers()[name].pid
                _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                limit(pid, resource.RLIMIT_NOFILE, highest_descriptor(pid) + 1, most)
                pause(LASTS_SEC)
                limit(pid, resource.RLIMIT_NOFILE, most, most)
                trial.load.wait_for_progress()


@pytest.mark.parametrize("name", chosen(WORKERS, "mailbox"))
def test_a_worker_that_gets_no_memory_breaks_no_promise(name: str) -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        with trial_of(daemon, "no memory") as trial:
            for _ in range(FAULTS):
                pid = daemon.workers()[name].pid
                _, most = resource.prlimit(pid, resource.RLIMIT_AS)
                limit(pid, resource.RLIMIT_AS, address_space_bytes(pid), most)
                pause(LASTS_SEC)
                limit(pid, resource.RLIMIT_AS, most, most)
                trial.load.wait_for_progress()


def limit(pid: int, what: int, soft: int, hard: int) -> None:
    """Limits a process, if it still exists."""
    with suppress(ProcessLookupError):
        resource.prlimit(pid, what, (soft, hard))


def highest_descriptor(pid: int) -> int:
    return max(int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir())


def address_space_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize()
