"""Numbers in shared memory become families of samples, and text that Prometheus reads."""

import pytest
from mailroomd.ipc.control_page import ControlPage
from mailroomd.model.errors import Reason
from mailroomd.observability.exposition import Reading, as_text, families_of
from mailroomd.observability.metrics import COMMIT_COMMANDS, REFUSALS, SEND_SECONDS, SENDS, role_of
from mailroomd.observability.metrics_block import MetricsBlock
from prometheus_client.parser import text_string_to_metric_families


def samples_of(*readings: Reading) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    parsed = text_string_to_metric_families(as_text(families_of(readings)))
    return {(one.name, frozenset(one.labels.items())): one.value for family in parsed for one in family.samples}


def test_counters_gauges_and_labels_come_out_as_they_were_counted() -> None:
    gateway, mailbox = MetricsBlock.private(), MetricsBlock.private()
    mailbox.count(SENDS.at, 3)
    gateway.count(REFUSALS.word(Reason.LOOP_GUARD))
    found = samples_of(Reading("gateway-1", gateway.read()), Reading("mailbox", mailbox.read()))
    assert found["mailroom_sends_total", frozenset({("process", "mailbox")})] == 3
    labels = frozenset({("reason", "LOOP_GUARD"), ("process", "gateway-1")})
    assert found["mailroom_refusals_total", labels] == 1


@pytest.mark.parametrize("value_ns", [0, 1, 32_768, 65_535, 65_536, 1_000_000, 3_600_000_000_000])
def test_a_duration_is_counted_in_every_bucket_that_is_not_below_it(value_ns: int) -> None:
    block = MetricsBlock.private()
    block.observe(SEND_SECONDS.at, value_ns)
    found = samples_of(Reading("gateway", block.read()))
    name = "mailroom_send_seconds_bucket"
    buckets = {float(dict(labels)["le"]): value for (known, labels), value in found.items() if known == name}
    assert buckets[float("inf")] == 1
    assert all((value == 1) == (value_ns / 1e9 < bound) for bound, value in buckets.items())
    process = frozenset({("process", "gateway")})
    assert found["mailroom_send_seconds_sum", process] == pytest.approx(value_ns / 1e9)
    assert found["mailroom_send_seconds_count", process] == 1


def test_a_count_is_at_most_its_buckets_bound() -> None:
    block = MetricsBlock.private()
    for commands in (1, 3, 4):
        block.observe(COMMIT_COMMANDS.at, commands)
    found = samples_of(Reading("command-queue", block.read()))
    process = ("process", "command-queue")
    assert found["mailroom_commit_commands_bucket", frozenset({("le", "3"), process})] == 2
    assert found["mailroom_commit_commands_bucket", frozenset({("le", "7"), process})] == 3


def test_each_worker_counts_in_a_block_of_its_own_and_its_successor_counts_on() -> None:
    page = ControlPage.create(2)
    try:
        page.metrics(0).count(SENDS.at, 2)
        page.metrics(1).count(SENDS.at, 5)
        successor = page.metrics(0)
        successor.count(SENDS.at)
        assert [page.metrics(index).read()[SENDS.at] for index in (0, 1)] == [3, 5]
    finally:
        page.close()


def test_a_gateways_number_is_no_part_of_its_role() -> None:
    assert [role_of(name) for name in ("gateway", "gateway-1", "mailbox", "command-queue")] == [
        "gateway",
        "gateway",
        "mailbox",
        "command-queue",
    ]
