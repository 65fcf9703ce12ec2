"""Faults of disks: the power is cut, a disk gets full, a store is deleted.

A power cut is staged as on one host (`support.faults.small_disk`): every process of the machine is killed, its file
system shut down, and mounted anew.
"""

__all__ = ["FAULTS"]

from collections.abc import Sequence

from support.harness.waiting import wait_until
from support.hosts.broker import START_SEC
from support.hosts.faults.stage import Fault, Stage
from support.hosts.wide_bed import SERVERS


def _host_loses_power(stage: Stage) -> None:
    host = stage.host()
    daemon, disk = stage.bed.hosts[host].daemon, stage.bed.disks[host]
    with stage.bed.harming(host):
        daemon.kill_supervisor()
        disk.cut_power(journal_flushed=stage.chance.random() < 0.5)
        daemon.assert_no_process_left()
        disk.remount()
        daemon.start()


def _cut_power(stage: Stage, names: Sequence[str]) -> None:
    for name in names:
        stage.bed.brokers[name].kill()
        stage.bed.disks[name].cut_power(journal_flushed=stage.chance.random() < 0.5)
    for name in names:
        stage.bed.disks[name].remount()


def _server_loses_power(stage: Stage) -> None:
    _cut_power(stage, [stage.server()])
    stage.bed.start_brokers()


def _all_servers_lose_power(stage: Stage) -> None:
    """Where none of them may lead before it is complete, the operator does what docs/hosts.md says."""
    _cut_power(stage, SERVERS)
    stage.bed.launch_brokers()
    if wait_until(stage.bed.hub_state, "the hub is ready or deadlocked", START_SEC, step_sec=0.5) == "deadlocked":
        print("  no server gets complete: their stores are deleted", flush=True)
        _all_servers_lose_their_stores(stage)


def _server_loses_its_store(stage: Stage) -> None:
    broker = stage.bed.brokers[stage.server()]
    broker.lose_store()
    stage.last()
    broker.start()


def _all_servers_lose_their_stores(stage: Stage) -> None:
    for name in SERVERS:
        stage.bed.brokers[name].lose_store()
    stage.bed.start_brokers()


def _full_disk_of_a_host(stage: Stage) -> None:
    host = stage.host()
    disk = stage.bed.disks[host]
    with stage.bed.harming(host):
        disk.fill()
        try:
            stage.last()
        finally:
            disk.make_room()


def _full_disk_of_a_server(stage: Stage) -> None:
    _fill_servers(stage, [stage.server()])


def _full_disks_of_the_hub(stage: Stage) -> None:
    _fill_servers(stage, SERVERS)


def _fill_servers(stage: Stage, names: Sequence[str]) -> None:
    """A server that could not write has to be started anew, says NATS."""
    for name in names:
        stage.bed.disks[name].fill()
    try:
        stage.last()
    finally:
        for name in names:
            stage.bed.disks[name].make_room()
    for name in names:
        stage.bed.brokers[name].kill()
    stage.bed.start_brokers()


FAULTS: dict[str, Fault] = {
    "the power of a host is cut": _host_loses_power,
    "the power of a server is cut": _server_loses_power,
    "the power of all servers is cut": _all_servers_lose_power,
    "the store of a server is deleted": _server_loses_its_store,
    "the stores of all servers are deleted": _all_servers_lose_their_stores,
    "the disk of a host is full": _full_disk_of_a_host,
    "the disk of a server is full": _full_disk_of_a_server,
    "the disks of all servers are full": _full_disks_of_the_hub,
}
