"""under_load — a daemon and a load on it, whatever a test does to them: afterwards everything is checked twice.

Owns the frame of every fault test: start, load, watcher, the fault (the test's), the end of the load, the checker, a
restart, the checker again, and the result. Invariant: nothing of the daemon is left, however the test ends.
"""

__all__ = ["Trial", "daemon_under_load"]

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from support.faults.checker import broken_promises, gather
from support.faults.evidence import Evidence
from support.faults.fault_results import note_result
from support.faults.inbox_watcher import Watched, watch_inbox
from support.faults.load import Load, LoadPlan, run_load
from support.faults.load_plan import make_team
from support.harness.daemon import Daemon


@dataclass
class Trial:
    """A daemon under load, and how many faults the test has injected."""

    daemon: Daemon
    load: Load
    faults: int = 0


@contextmanager
def daemon_under_load(
    daemon: Daemon,
    kind: str,
    seed: int,
    *,
    retention: bool = False,
    power_cuts: bool = False,
    is_watched: bool = True,
    on_files: bool = True,
    sends_per_sec: float = LoadPlan.sends_per_sec,
) -> Generator[Trial]:
    """Gives a trial, whose load has just begun; afterwards everything is checked twice, and the result is noted.

    Args:
        kind: of the faults, for the result.
        retention: whether the daemon's flags make it delete what was read.
        power_cuts: whether the disk is cut off; it is not watched then, as no watch outlives a mount.
        on_files: whether there are agents that work on their files, too.
        is_watched: whether every inbox file is looked at the moment it appears.
    """
    notes = daemon.directory / "notes"
    plan = LoadPlan(daemon.address, str(notes), str(daemon.database), seed, str(daemon.root) if on_files else "")
    plan = replace(plan, retention=retention, power_cuts=power_cuts, sends_per_sec=sends_per_sec)
    try:
        daemon.start()
        make_team(daemon.root)
        with ExitStack() as ends:
            watched = Watched()
            if is_watched and not power_cuts:
                watched = ends.enter_context(watch_inbox(daemon.inbox, daemon.directory / "watched.jsonl"))
            trial = Trial(daemon, ends.enter_context(run_load(plan)))
            yield trial
        evidence = _check_twice(daemon, notes, watched)
        print(f"{watched.appeared} files appeared, {watched.read} readings of them, {watched.overflows} overflows")
        note_result(kind, trial.faults, evidence)
    except BaseException:
        print(daemon.log()[-6000:])
        raise
    finally:
        daemon.kill_everything()


def _check_twice(daemon: Daemon, notes: Path, watched: Watched) -> Evidence:
    """Checks all promises before and after a restart, and that the daemon ends; returns the last evidence."""
    _judge(gather(daemon, notes, watched.violations), "after the load")
    assert daemon.stop() == 0
    daemon.start()
    evidence = gather(daemon, notes, watched.violations)
    _judge(evidence, "after a restart")
    assert daemon.stop() == 0
    daemon.assert_no_process_left()
    return evidence


def _judge(evidence: Evidence, when: str) -> None:
    broken = broken_promises(evidence)
    assert not broken, f"broken {when}:\n" + "\n".join(broken)
