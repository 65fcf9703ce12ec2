"""Crash points: every process killed before and after each step on the way of a message, under load.

`make faults` walks over all points; `make test` takes some by chance. Each start of a worker has a fuse at the next
point, so one load passes many. MAILROOM_TEST_SEED repeats a run's choice.
"""

import signal

import pytest
from support.faults.crash_points import AFTER, BEFORE, HUB_POINTS, MOMENTS, POINTS, CrashPoint, Shot, points_of
from support.faults.fuses import burnt, daemon_with_fuses, without_fuses
from support.faults.under_load import daemon_under_load
from support.harness.daemon import WORKERS, short_directory
from support.harness.waiting import chance, chosen, is_campaign, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

RETENTION = ("--keep-read", "2s", "--sweep-every", "0.2s")
SENDS_PER_SEC = 150.0  # enough for every point; the inboxes, which each restart looks through, stay short
PASSED_SEC = 90.0  # until a point is passed: the slowest waits for a sync or a checkpoint
AT_ONCE = 12  # crashes under one load
MOST_PASSINGS = 6
CHOSEN = {"command-queue": 6, "mailbox": 4, "gateway": 2}  # by chance, in `make test`


def all_shots(process: str) -> list[tuple[CrashPoint, str]]:
    return [(point, moment) for point in points_of(process) for moment in MOMENTS]


def walks() -> list[tuple[str, list[tuple[CrashPoint, str]]]]:
    """Returns what one load each walks over: a process, and its points."""
    return [
        (process, shots[at : at + AT_ONCE])
        for process in WORKERS
        for shots in [all_shots(process)]
        for at in range(0, len(shots), AT_ONCE)
    ]


def walk(plan: dict[str, list[Shot]], kind: str, seed: int) -> None:
    """Runs a load until every shot of the plan was fired, and judges what is left."""
    wanted = [f"{process}: {shot.moment} {shot.name}" for process, shots in plan.items() for shot in shots]
    with short_directory() as directory:
        daemon = daemon_with_fuses(directory, plan, RETENTION)
        with daemon_under_load(daemon, kind, seed, retention=True, sends_per_sec=SENDS_PER_SEC) as trial:
            for count in range(1, len(wanted) + 1):
                wait_until(
                    lambda: len(burnt(daemon)) >= count,  # noqa: B023
                    f"the next of these is passed: {sorted(set(wanted).difference(burnt(daemon)))}",
                    PASSED_SEC,
                )
            assert sorted(burnt(daemon)) == sorted(wanted)
            trial.load.wait_for_progress()
            trial.faults = len(wanted)


def shot_at(point: CrashPoint, moment: str, passing: int) -> Shot:
    return Shot(point.name, moment, 1 if point.at_start else passing)


def test_a_crash_at_points_chosen_by_chance_breaks_no_promise() -> None:
    """All processes at once, and what one does while another is away."""
    random_numbers = chance("crash points")
    plan = {
        process: [
            shot_at(point, moment, random_numbers.randint(1, MOST_PASSINGS))
            for point, moment in random_numbers.sample(all_shots(process), count)
        ]
        for process, count in CHOSEN.items()
    }
    walk(plan, "crash points", random_numbers.randrange(1 << 32))


if is_campaign():  # it takes long, and is no test that could be skipped: what is chosen by chance stands for it

    @pytest.mark.parametrize(
        ("process", "shots"), walks(), ids=lambda one: one if isinstance(one, str) else f"from {one[0][0].name}"
    )
    def test_a_crash_at_each_point_of_a_worker_breaks_no_promise(
        process: str, shots: list[tuple[CrashPoint, str]]
    ) -> None:
        random_numbers = chance(f"walk {process} {shots[0]}")
        plan = {process: [shot_at(point, moment, random_numbers.randint(1, MOST_PASSINGS)) for point, moment in shots]}
        walk(plan, "crash points", random_numbers.randrange(1 << 32))


@pytest.mark.parametrize(
    ("point", "moment"),
    chosen(all_shots("supervisor"), all_shots("supervisor")[0], all_shots("supervisor")[-1]),
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_a_supervisor_that_dies_while_it_replaces_a_worker_breaks_no_promise(point: CrashPoint, moment: str) -> None:
    random_numbers = chance(f"supervisor {moment} {point.name}")
    passing = 1 if point.name == "reap a worker" else len(WORKERS) + 1  # behind those of the daemon's own start
    with short_directory() as directory:
        daemon = daemon_with_fuses(directory, {"supervisor": [Shot(point.name, moment, passing)]}, RETENTION)
        seed = random_numbers.randrange(1 << 32)
        with daemon_under_load(daemon, "crash points", seed, retention=True, sends_per_sec=SENDS_PER_SEC) as trial:
            daemon.signal_workers([random_numbers.choice(WORKERS)], signal.SIGKILL)
            assert daemon.process is not None
            daemon.process.wait(PASSED_SEC)
            assert burnt(daemon) == [f"supervisor: {moment} {point.name}"]
            without_fuses(daemon)
            daemon.start()
            trial.load.wait_for_progress()
            trial.faults = 1


def test_every_crash_point_has_a_name_of_its_own_in_its_process_and_both_moments() -> None:
    names = [(point.process, point.name) for point in (*POINTS, *HUB_POINTS)]
    assert len(names) == len(set(names))
    assert {point.process for point in POINTS} == {*WORKERS, "supervisor"}
    assert MOMENTS == (BEFORE, AFTER)
