"""A hub of three servers holds three copies of everything, and goes on while one of them is gone."""

from collections.abc import Iterator

import pytest
from support.harness.waiting import wait_until
from support.hosts.bed import Bed, running_bed

STREAM = "MAIL_main-0"


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with running_bed("a", "b", servers=3) as made:
        yield made


def leader(bed: Bed) -> int:
    """Returns the number of the server that leads the stream of mail."""
    running = next(broker for broker in bed.brokers if broker.process is not None)
    (details,) = (stream for stream in running.stream_details() if stream["name"] == STREAM)
    return int(details["cluster"]["leader"].removeprefix("hub-")) - 1


def test_each_stream_has_three_copies(bed: Bed) -> None:
    bed.send("a", "bob:b", "hello")
    bed.wait_at_rest()
    for broker in bed.brokers:
        copies = {stream["name"]: stream["config"]["num_replicas"] for stream in broker.stream_details()}
        assert copies == dict.fromkeys((STREAM, "KV_hosts", "KV_alive", "KV_removed"), 3)


@pytest.mark.parametrize("loses_store", [False, True])
def test_mail_goes_on_while_the_leading_server_is_gone(bed: Bed, loses_store: bool) -> None:
    number = leader(bed)
    broker = bed.brokers[number]
    bed.send("a", "bob:b", *(f"before {loses_store} {count}" for count in range(20)))
    if loses_store:
        broker.lose_store()
    else:
        broker.kill()
    bed.send("a", "bob:b", *(f"without {loses_store} {count}" for count in range(20)))
    bed.send("b", "ann:a", *(f"without {loses_store} {count}" for count in range(20)))
    bed.wait_at_rest()
    assert leader(bed) != number
    broker.start()
    bed.send("a", "bob:b", f"after {loses_store}")
    bed.wait_at_rest()


def test_mail_waits_for_a_majority_of_the_servers(bed: Bed) -> None:
    for broker in bed.brokers[1:]:
        broker.kill()
    bed.send("a", "bob:b", "for two servers")
    for broker in bed.brokers[1:]:
        broker.launch()
    wait_until(lambda: all(broker.is_ready() for broker in bed.brokers), "all servers are ready", 60.0)
    bed.wait_at_rest()
