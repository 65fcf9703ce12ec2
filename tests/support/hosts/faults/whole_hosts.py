"""Faults of whole hosts: a disk is put back to an earlier day, a machine is cloned or removed, a clock is wrong."""

__all__ = ["FAULTS"]

import shutil

from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.model.states import DeliveryState
from mailroomd.operator.hub.removing import finish_removal
from mailroomd.operator.hub.setting_up import remove_host
from support.harness.daemon import Daemon
from support.harness.waiting import wait_until
from support.hosts.bed import Host
from support.hosts.evidence import HostEvidence, read_host
from support.hosts.faults.stage import Fault, Stage
from support.hosts.wide_bed import SPARE

NOTICED_SEC = 60.0
# `stored`: the host confirmed the message, and was stopped before it could report the file.
ENDED = (pb.DELIVERY_STATE_STORED, pb.DELIVERY_STATE_FILED, pb.DELIVERY_STATE_RETURNED)
OPEN, TAKEN = "mail is exchanged with other hosts", "host name is taken"


def _host_restored(stage: Stage) -> None:
    """Its disk is put back as it was some seconds ago, in the middle of mail from and to it."""
    host = stage.host()
    bed = stage.bed
    daemon, disk = bed.hosts[host].daemon, bed.disks[host]
    copy = bed.directory / "copy"
    with bed.harming(host):
        daemon.stop()
        bed.copy_disk(host, copy)
        daemon.start()
    stage.last()
    with bed.harming(host), stage.traffic.hushed(host):
        daemon.stop()
        before = read_host(daemon.database, daemon.inbox)
        for name in ("state", "root"):
            shutil.rmtree(disk.path / name)
            shutil.copytree(copy / name, disk.path / name, symlinks=True)
        shutil.rmtree(copy)
        _note_what_is_undone(stage, host, before)
        daemon.start()


def _note_what_is_undone(stage: Stage, host: str, before: HostEvidence) -> None:
    """Notes what a restored host does not know any more, and what it may know less of."""
    daemon = stage.bed.hosts[host].daemon
    restored = read_host(daemon.database, daemon.inbox)
    arrived = {row.content for row in restored.messages.values()}
    for sent in list(stage.bed.sent):
        if sent.host == host:
            row = before.messages.get(sent.id)
            was_returned = row is not None and row.state == DeliveryState.RETURNED
            sent.is_undone |= sent.id not in restored.messages or was_returned
            sent.is_rewound = True
        elif sent.to == host:
            sent.is_undone |= sent.content not in arrived
            sent.is_rewound = True


def _host_cloned(stage: Stage) -> None:
    """A second machine starts with a host's disk: it exchanges no mail, and says why."""
    host, bed = stage.host(), stage.bed
    daemon = bed.hosts[host].daemon
    times_open = daemon.log().count(OPEN)
    with bed.harming(host):
        daemon.stop()
        directory = bed.directory / "clone"
        bed.copy_disk(host, directory)
        daemon.start()
    wait_until(lambda: daemon.log().count(OPEN) > times_open, f"{host} exchanges mail again", NOTICED_SEC)
    program = (*bed.network.machines[SPARE].program(), daemon.program[-1])
    clone = Daemon(directory, daemon.flags, program, base_flags=daemon.base_flags)
    clone.flags = ("--hub", str(clone.state_dir / "hub.json"), *daemon.flags[2:])
    try:
        clone.start()
        wait_until(lambda: TAKEN in clone.log(), "the clone learns that its name is taken", NOTICED_SEC)
        stage.last()
        assert OPEN not in clone.log(), "the clone has exchanged mail"
    finally:
        clone.kill_everything()
        shutil.rmtree(directory)


def _host_removed(stage: Stage) -> None:
    """A fourth host joins, gets mail, and is removed while mail waits for it: what it has not confirmed comes back."""
    bed = stage.bed
    name = f"d{sum(removed.startswith('d') for removed in bed.hub.removed) + 1}"
    gone, origin = Host(name, bed.directory / name, bed.network.machines[SPARE].program()), bed.hosts[stage.host()]
    hub_directory = bed.directory / "hub"
    bed.admit(gone)
    bed.write_config()
    try:
        gone.daemon.start()
        wait_until(lambda: origin.knows(name), f"{origin.name} has seen {name}", NOTICED_SEC)
        ids = [origin.client.send(f"bob:{name}", f"{number}").message.id for number in range(5)]
        stage.last()
        gone.daemon.stop()
        ids += [origin.client.send(f"bob:{name}", f"{number}").message.id for number in range(5, 10)]
        remove_host(bed.hub, name, hub_directory)
        bed.write_config()
        bed.network.machines[SPARE].run(lambda: finish_removal(bed.hub, name, NOTICED_SEC, print))
        for number, message_id in enumerate(ids):
            wait_until(lambda at=message_id: origin.client.state(at) in ENDED, f"{number} has an end", NOTICED_SEC)
            is_there = f"{number}" in gone.contents("bob")
            assert is_there or origin.client.state(message_id) == pb.DELIVERY_STATE_RETURNED
    finally:
        gone.client.close()
        gone.daemon.kill_everything()


def _clock_is_wrong(stage: Stage) -> None:
    """One host's clock is an hour off for a while, in either direction."""
    stage.bed.clock.move(stage.chance.choice(("+1h", "-1h")))
    stage.last()
    stage.bed.clock.move("+0")


FAULTS: dict[str, Fault] = {
    "a host is restored from a backup": _host_restored,
    "a host is cloned": _host_cloned,
    "a host is removed": _host_removed,
    "the clock of a host is an hour off": _clock_is_wrong,
}
