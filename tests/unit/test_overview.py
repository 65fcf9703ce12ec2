"""Two looks at the daemon make rates, percentiles and a list of busy mailboxes."""

from mailroom.stats import MailboxStats, MetricSample, Status
from mailroom_apps.cli.overview import Look, overview_of


def look(at_sec: float, metrics: dict[tuple[str, str, str], float], totals: dict[str, int]) -> Look:
    samples = [
        MetricSample(f"mailroom_{name}", {label: value, "process": "x"} if label else {"process": "x"}, number)
        for (name, label, value), number in metrics.items()
    ]
    mailboxes = [MailboxStats(name, total, total, 5, 0, None) for name, total in totals.items()]
    return Look(at_sec, "serving", Status("1", None, ()), samples, mailboxes)


def test_rates_are_differences_over_the_time_between() -> None:
    before = look(10, {("sends_total", "", ""): 100, ("states_total", "state", "read"): 1}, {})
    now = look(12, {("sends_total", "", ""): 130, ("states_total", "state", "read"): 3}, {})
    found = overview_of(before, now)
    assert found.per_second["sends"] == 15
    assert found.per_second["read"] == 1
    assert found.seconds == 2


def test_percentiles_are_the_bounds_of_what_came_between() -> None:
    def buckets(fast: int, slow: int) -> dict[tuple[str, str, str], float]:
        name = "send_seconds_bucket"
        return {(name, "le", "0.001"): fast, (name, "le", "0.004"): fast + slow, (name, "le", "+Inf"): fast + slow}

    found = overview_of(look(0, buckets(1000, 0), {}), look(1, buckets(1006, 4), {}))
    assert found.milliseconds["send"] == (1.0, 4.0)
    assert found.milliseconds["stream"] is None


def test_a_daemon_that_was_restarted_in_between_counts_from_nothing() -> None:
    found = overview_of(look(0, {("sends_total", "", ""): 500}, {}), look(1, {("sends_total", "", ""): 4}, {}))
    assert found.per_second["sends"] == 0


def test_the_busiest_mailboxes_come_first_and_quiet_ones_not_at_all() -> None:
    before, now = {"busy": 5, "full": 90, "quiet": 0}, {"busy": 9, "full": 90, "quiet": 0, "new": 1}
    found = overview_of(look(0, {}, before), look(1, {}, now))
    assert [(one.agent_id, one.received) for one in found.mailboxes] == [("busy", 4), ("new", 1), ("full", 0)]


def test_refusals_are_told_by_reason_and_queues_by_name() -> None:
    metrics = {("refusals_total", "reason", "LOOP_GUARD"): 2.0, ("refusals_total", "reason", "INTERNAL"): 0.0}
    found = overview_of(look(0, {}, {}), look(1, {**metrics, ("queue_items", "queue", "writes"): 7}, {}))
    assert found.refusals == {"LOOP_GUARD": 2}
    assert found.queues == {"writes": 7}
