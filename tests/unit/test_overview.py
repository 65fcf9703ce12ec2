"""Two samples of the daemon give rates, percentiles and a list of busy mailboxes."""

from dataclasses import replace

from mailroom.stats import HostStatus, HubStatus, MailboxStats, MetricSample, Status
from mailroom_apps.overview import Sample, compute_overview


def sample(at_sec: float, metrics: dict[tuple[str, str, str], float], totals: dict[str, int]) -> Sample:
    samples = [
        MetricSample(f"mailroom_{name}", {label: value, "process": "x"} if label else {"process": "x"}, number)
        for (name, label, value), number in metrics.items()
    ]
    mailboxes = [MailboxStats(name, total, total, 5, 0, None) for name, total in totals.items()]
    return Sample(at_sec, "serving", Status("1", None, ()), samples, mailboxes)


def test_rates_are_differences_divided_by_the_time_between() -> None:
    before = sample(10, {("sends_total", "", ""): 100, ("states_total", "state", "read"): 1}, {})
    now = sample(12, {("sends_total", "", ""): 130, ("states_total", "state", "read"): 3}, {})
    overview = compute_overview(before, now)
    assert overview.per_second["sends"] == 15
    assert overview.per_second["read"] == 1
    assert overview.seconds == 2


def test_other_hosts_are_part_of_it_where_there_are_any() -> None:
    hub = HubStatus("a", connected=True, last_contact=None, problem="", hosts=(HostStatus("b", None, 3, 900, ""),))
    before, now = sample(0, {}, {}), sample(1, {}, {})
    assert compute_overview(before, now).to_dict()["hub"] is None
    joined = replace(now, status=replace(now.status, hub=hub))
    assert compute_overview(before, joined).to_dict()["hub"]["hosts"][0]["waiting"] == 3


def test_percentiles_are_bucket_bounds_of_the_values_between() -> None:
    def buckets(fast: int, slow: int) -> dict[tuple[str, str, str], float]:
        name = "send_seconds_bucket"
        return {(name, "le", "0.001"): fast, (name, "le", "0.004"): fast + slow, (name, "le", "+Inf"): fast + slow}

    overview = compute_overview(sample(0, buckets(1000, 0), {}), sample(1, buckets(1006, 4), {}))
    assert overview.milliseconds["send"] == (1.0, 4.0)
    assert overview.milliseconds["stream"] is None


def test_counters_of_a_restarted_daemon_start_at_zero() -> None:
    overview = compute_overview(
        sample(0, {("sends_total", "", ""): 500}, {}), sample(1, {("sends_total", "", ""): 4}, {})
    )
    assert overview.per_second["sends"] == 0


def test_the_busiest_mailboxes_come_first_and_quiet_ones_are_omitted() -> None:
    before, now = {"busy": 5, "full": 90, "quiet": 0}, {"busy": 9, "full": 90, "quiet": 0, "new": 1}
    overview = compute_overview(sample(0, {}, before), sample(1, {}, now))
    assert [(mailbox.agent_id, mailbox.received) for mailbox in overview.mailboxes] == [
        ("busy", 4),
        ("new", 1),
        ("full", 0),
    ]


def test_refusals_are_counted_by_reason_and_queues_by_name() -> None:
    metrics = {("refusals_total", "reason", "LOOP_GUARD"): 2.0, ("refusals_total", "reason", "INTERNAL"): 0.0}
    overview = compute_overview(sample(0, {}, {}), sample(1, {**metrics, ("queue_items", "queue", "writes"): 7}, {}))
    assert overview.refusals == {"LOOP_GUARD": 2}
    assert overview.queues == {"writes": 7}
