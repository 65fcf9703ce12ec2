"""Words in shared memory become families of samples, and text that Prometheus can parse."""

import pytest
from mailroomd.ipc.control_page import ControlPage
from mailroomd.model.errors import Reason
from mailroomd.observability.exposition import Reading, collect_families, render_prometheus
from mailroomd.observability.metrics import COMMIT_COMMANDS, REFUSALS, SEND_SECONDS, SENDS, role_of
from mailroomd.observability.metrics_block import MetricsBlock
from prometheus_client.parser import text_string_to_metric_families


def samples_of(*readings: Reading) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    parsed = text_string_to_metric_families(render_prometheus(collect_families(readings)))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value for family in parsed for sample in family.samples
    }


def test_counters_and_labels_appear_as_counted() -> None:
    gateway, mailbox = MetricsBlock.private(), MetricsBlock.private()
    mailbox.count(SENDS.at, 3)
    gateway.count(REFUSALS.word(Reason.LOOP_GUARD))
    samples = samples_of(Reading("gateway-1", gateway.read()), Reading("mailbox", mailbox.read()))
    assert samples["mailroom_sends_total", frozenset({("process", "mailbox")})] == 3
    labels = frozenset({("reason", "LOOP_GUARD"), ("process", "gateway-1")})
    assert samples["mailroom_refusals_total", labels] == 1


@pytest.mark.parametrize("value_ns", [0, 1, 32_768, 65_535, 65_536, 1_000_000, 3_600_000_000_000])
def test_a_duration_counts_in_every_bucket_above_it(value_ns: int) -> None:
    block = MetricsBlock.private()
    block.observe(SEND_SECONDS.at, value_ns)
    samples = samples_of(Reading("gateway", block.read()))
    name = "mailroom_send_seconds_bucket"
    buckets = {float(dict(labels)["le"]): value for (sample, labels), value in samples.items() if sample == name}
    assert buckets[float("inf")] == 1
    assert all((value == 1) == (value_ns / 1e9 < bound) for bound, value in buckets.items())
    process = frozenset({("process", "gateway")})
    assert samples["mailroom_send_seconds_sum", process] == pytest.approx(value_ns / 1e9)
    assert samples["mailroom_send_seconds_count", process] == 1


def test_a_count_is_at_most_the_bound_of_its_bucket() -> None:
    block = MetricsBlock.private()
    for commands in (1, 3, 4):
        block.observe(COMMIT_COMMANDS.at, commands)
    samples = samples_of(Reading("command-queue", block.read()))
    process = ("process", "command-queue")
    assert samples["mailroom_commit_commands_bucket", frozenset({("le", "3"), process})] == 2
    assert samples["mailroom_commit_commands_bucket", frozenset({("le", "7"), process})] == 3


def test_each_worker_has_its_own_block_and_its_successor_continues_it() -> None:
    page = ControlPage.create(2)
    try:
        page.metrics(0).count(SENDS.at, 2)
        page.metrics(1).count(SENDS.at, 5)
        successor = page.metrics(0)
        successor.count(SENDS.at)
        assert [page.metrics(index).read()[SENDS.at] for index in (0, 1)] == [3, 5]
    finally:
        page.close()


def test_the_role_of_a_gateway_excludes_its_number() -> None:
    assert [role_of(name) for name in ("gateway", "gateway-1", "mailbox", "command-queue")] == [
        "gateway",
        "gateway",
        "mailbox",
        "command-queue",
    ]
