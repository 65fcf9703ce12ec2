"""The relay, and what the command-queue does for it, killed before and after each step: mail arrives once, in order.

Two hosts exchange mail, and what is read is acknowledged, so that receipts travel, too. Each start of a worker has a
fuse at the next point; each point is taken by one of the hosts, by chance.
"""

from collections.abc import Mapping, Sequence

import pytest
from support.faults.crash_points import HUB_POINTS, MOMENTS, Shot
from support.faults.fuses import burnt, lay_fuses
from support.harness.daemon import short_directory
from support.harness.waiting import chance, wait_until
from support.hosts.bed import Bed

PASSED_SEC = 60.0  # until the next point is passed
MOST_PASSINGS = 4
ADDRESSES = {"a": "bob:b", "b": "bob:a"}

Plan = dict[str, dict[str, list[Shot]]]


def planned(process: str) -> Plan:
    """Returns the shots of each host: every moment of every point of a process at one of the two."""
    random = chance(f"crash points of {process} with a hub")
    plan: Plan = {name: {process: []} for name in ADDRESSES}
    for point in HUB_POINTS:
        if point.process == process:
            for moment in MOMENTS:
                passing = 1 if point.at_start else random.randint(1, MOST_PASSINGS)
                plan[random.choice(sorted(ADDRESSES))][process].append(Shot(point.name, moment, passing))
    return plan


def wanted(shots: Mapping[str, Sequence[Shot]]) -> list[str]:
    return [f"{process}: {shot.moment} {shot.name}" for process, some in shots.items() for shot in some]


def read(bed: Bed, host: str) -> None:
    """Reads and acknowledges what has arrived."""
    client = bed.hosts[host].client
    found = [message.id for message in client.check("bob").messages]
    if found:
        client.acknowledge("bob", found)


def pass_all(bed: Bed, plan: Plan) -> None:
    """Exchanges mail until every fuse of both hosts has burnt."""
    number = 0

    def exchange() -> bool:
        nonlocal number
        number += 1
        for host, address in ADDRESSES.items():
            bed.send(host, address, f"{host}{number}")
            read(bed, host)
        return any(len(burnt(bed.hosts[name].daemon)) > count for name, count in counts.items())

    while True:
        counts = {name: len(burnt(bed.hosts[name].daemon)) for name in plan}
        left = {name: wanted(shots)[counts[name] :] for name, shots in plan.items()}
        if not any(left.values()):
            break
        wait_until(exchange, f"the next of these is passed: {left}", PASSED_SEC, step_sec=0.02)
    assert {name: burnt(bed.hosts[name].daemon) for name in plan} == {
        name: wanted(shots) for name, shots in plan.items()
    }


@pytest.mark.parametrize("process", ["relay", "command-queue"])
def test_a_crash_at_each_step_of_mail_between_hosts_loses_and_doubles_nothing(process: str) -> None:
    plan = planned(process)
    with short_directory() as directory:
        bed = Bed(directory, ADDRESSES)
        for name, host in bed.hosts.items():
            lay_fuses(host.daemon, plan[name])
        try:
            bed.start()
            pass_all(bed, plan)
            wait_until(lambda: all(map(bed.answers, bed.hosts)), "both daemons answer")
            bed.wait_at_rest()
        finally:
            bed.close()
