"""A database that reaches its size limit: a warning first, then sends are refused; acknowledging goes on."""

import json

import pytest
from mailroom import Mailroom, ResourceExhausted
from mailroomd.core.disk_limit import DiskUse, judge_disk
from support.harness.daemon import Daemon, short_directory
from support.harness.metrics_page import MetricsPage
from support.harness.waiting import wait_until

FLAGS = ("--max-disk-size", "8MiB", "--warn-disk-size", "4MiB", "--metrics", "127.0.0.1:0", "--log-format", "json")


@pytest.mark.parametrize(
    ("used", "warn", "most", "before", "found"),
    [
        (1000, 0, 0, DiskUse.FINE, DiskUse.FINE),
        (79, 0, 100, DiskUse.FINE, DiskUse.FINE),
        (80, 0, 100, DiskUse.FINE, DiskUse.HIGH),
        (50, 40, 100, DiskUse.FINE, DiskUse.HIGH),
        (50, 40, 0, DiskUse.FINE, DiskUse.HIGH),
        (100, 0, 100, DiskUse.HIGH, DiskUse.OVER),
        (96, 0, 100, DiskUse.OVER, DiskUse.OVER),
        (96, 0, 100, DiskUse.HIGH, DiskUse.HIGH),
        (94, 0, 100, DiskUse.OVER, DiskUse.HIGH),
        (10, 0, 100, DiskUse.OVER, DiskUse.FINE),
    ],
)
def test_the_limit_warns_first_and_lets_go_with_some_room(
    used: int, warn: int, most: int, before: DiskUse, found: DiskUse
) -> None:
    assert judge_disk(used, warn, most, before) is found


def test_a_database_at_its_limit_warns_refuses_sends_and_recovers() -> None:
    with short_directory() as directory:
        daemon = Daemon(directory, FLAGS)
        try:
            daemon.start()
            page = MetricsPage(daemon)
            with Mailroom(daemon.address, sender="ana", timeout=3) as client:
                sent = [client.send("bob", "x" * 900_000).id for _ in range(7)]
                wait_until(lambda: "database size near its limit" in daemon.log(), "the warning is logged")
                assert page.value("database_bytes", part="warn") < page.value("database_bytes", part="used")

                refusals: list[ResourceExhausted] = []

                def is_refused() -> bool:
                    try:
                        sent.append(client.send("bob", "y" * 900_000).id)
                    except ResourceExhausted as error:
                        refusals.append(error)
                    return bool(refusals)

                wait_until(is_refused, "sends are refused")
                assert refusals[0].reason == "STORAGE_FULL"
                assert "--max-disk-size" in refusals[0].message
                wait_until(lambda: page.value("store_writable") == 0, "the metric says so")
                assert client.health().value == "not_serving"
                assert client.acknowledge("bob", sent[0]).acknowledged_ids == (sent[0],)
                assert client.clear("bob") == len(sent)
                wait_until(lambda: client.health().value == "serving", "sends are accepted again")
                client.send("bob", "small")
            events = [json.loads(line)["event"] for line in daemon.log().splitlines()]
            assert sum("refusing sends" in event for event in events) == 1
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()
