"""A patrol works in slices: rounds when they are due, urgent work between them; the clock is the test's."""

from mailroomd.storage.directories.patrol import Patrol, PatrolPace, Slices


class Beat:
    """A patrol over some places, and what it has looked at."""

    def __init__(self, *, places: int, pause_sec: float = 0.0) -> None:
        self.places = places
        self.urgent: list[str] = []
        self.seen: list[str] = []
        self.is_closed = False
        pace = PatrolPace(round_sec=10.0, slice_steps=4, pause_sec=pause_sec)
        self.patrol = Patrol(pace, self.round, self.work_urgently, lambda: bool(self.urgent))

    def round(self) -> Slices:
        try:
            for place in range(self.places):
                yield
                self.seen.append(str(place))
        finally:
            self.is_closed = True

    def work_urgently(self) -> Slices:
        while self.urgent:
            yield
            self.seen.append(self.urgent.pop(0))


def test_a_round_is_done_in_slices_and_repeated_when_it_is_due() -> None:
    beat = Beat(places=6)
    beat.patrol.run_slice(100.0)
    assert len(beat.seen) < 6
    assert beat.patrol.next_due_sec() <= 100.0, "there is more to look at"
    beat.patrol.run_slice(100.0)
    assert beat.seen == [str(place) for place in range(6)]
    assert beat.patrol.next_due_sec() == 110.0
    beat.patrol.run_slice(109.0)
    assert len(beat.seen) == 6
    beat.patrol.run_slice(110.0)
    assert len(beat.seen) > 6


def test_slices_are_a_pause_apart() -> None:
    beat = Beat(places=6, pause_sec=0.5)
    beat.patrol.run_slice(100.0)
    done = len(beat.seen)
    assert beat.patrol.next_due_sec() == 100.5
    beat.patrol.run_slice(100.4)
    assert len(beat.seen) == done
    beat.patrol.run_slice(100.5)
    assert len(beat.seen) == 6


def test_urgent_work_is_done_between_two_rounds() -> None:
    beat = Beat(places=1)
    beat.patrol.run_slice(100.0)
    beat.urgent = ["now"]
    assert beat.patrol.next_due_sec() <= 100.0
    beat.patrol.run_slice(101.0)
    assert beat.seen == ["0", "now"]
    assert beat.patrol.next_due_sec() == 110.0


def test_a_round_can_be_made_due_and_work_can_be_dropped() -> None:
    beat = Beat(places=6)
    beat.patrol.run_slice(100.0)
    beat.patrol.stop_work()
    assert beat.is_closed, "its handles are closed"
    beat.patrol.start_round_at(101.0)
    assert beat.patrol.next_due_sec() == 101.0
    beat.seen.clear()
    beat.patrol.run_slice(101.0)
    assert beat.seen[0] == "0"
