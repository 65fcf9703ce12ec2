"""Power cuts under load: what was acknowledged is there when the disk is mounted again, whole, and in order.

Everything of the daemon lies on an ext4. At random moments every process is killed and the disk shut down, with its
journal flushed and with it lost; then it is mounted anew, and the daemon is started. `make faults` cuts 30 times each.
"""

import json
import os
import subprocess

import pytest
from mailroomd.auth.token_file import TokenFile
from mailroomd.operator.hub.joining import join
from mailroomd.operator.hub.setting_up import HUB_NAME, Hub, add_host, write_server_config
from mailroomd.relay.hub_file import read_hub_file
from mailroomd.relay.sealing import PINS_NAME, Sealer
from support.faults.crash_points import BEFORE, Shot
from support.faults.evidence import Evidence
from support.faults.fuses import burnt, daemon_with_fuses, without_fuses
from support.faults.gathering import gather
from support.faults.small_disk import SmallDisk, place_on, small_disk
from support.faults.under_load import daemon_under_load
from support.harness.command_line import command
from support.harness.daemon import Daemon, short_directory
from support.harness.waiting import BOUND_SEC, chance, is_campaign, pause, wait_until

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(900)]

DISK_BYTES = 512 << 20
CUTS = 30 if is_campaign() else 4
LATEST_SEC = 0.7  # after which the cut comes: some commits, and now and then a checkpoint
SENDS_PER_SEC = 200.0
RESPONSE = {"number": 7}
AGAIN = 1000  # restarts until the power is cut: none of them may delete the file


@pytest.mark.parametrize("journal_flushed", [True, False], ids=["journal flushed", "journal lost"])
def test_power_cuts_under_load_break_no_promise(journal_flushed: bool) -> None:
    kind = f"power cuts, journal {'flushed' if journal_flushed else 'lost'}"
    random_numbers = chance(kind)
    with short_directory() as directory, small_disk(directory / "disk", DISK_BYTES) as disk:
        daemon = Daemon(directory)
        place_on(disk, daemon)
        seed = random_numbers.randrange(1 << 32)
        with daemon_under_load(daemon, kind, seed, power_cuts=True, sends_per_sec=SENDS_PER_SEC) as trial:
            for _ in range(CUTS):
                pause(random_numbers.uniform(0, LATEST_SEC))
                cut_power(disk, daemon, journal_flushed=journal_flushed)
                daemon.start()
                trial.load.wait_for_progress()
            trial.faults = CUTS


def cut_power(disk: SmallDisk, daemon: Daemon, *, journal_flushed: bool) -> None:
    """Ends every process, and then the disk before it has written what it was not made to; mounts the disk again.

    In this order, because a process that outlives its disk may be lied to (docs/facts.md), as none does in a power cut.
    """
    daemon.kill_supervisor()
    disk.cut_power(journal_flushed=journal_flushed)
    daemon.assert_no_process_left()
    disk.remount()


@pytest.mark.parametrize("journal_flushed", [True, False], ids=["journal flushed", "journal lost"])
def test_keys_and_tokens_of_commands_survive_a_power_cut(journal_flushed: bool) -> None:
    """The key of a host was lost if the power failed within half a minute after `mailroom hub join`."""
    with short_directory() as directory, small_disk(directory / "disk", DISK_BYTES) as disk:
        state = disk.path / "state"
        hub = Hub(["nats://127.0.0.1:4222"], "127.0.0.1:4222")
        (disk.path / "hub").mkdir()
        invitation = add_host(hub, "a", disk.path / "hub")
        configs = write_server_config(hub, disk.path / "hub")
        path, joined = join(invitation, state)
        Sealer(joined.secret, state).see("b", joined.secret)
        saved = disk.path / "bob.token"
        create = command("token", "create", "--agent", "bob", "--save", str(saved), "--state-dir", str(state))
        subprocess.run(create, check=True, timeout=BOUND_SEC, capture_output=True)
        tokens = TokenFile(state)
        written = [path, state / PINS_NAME, tokens.path, saved, invitation, disk.path / "hub" / HUB_NAME, *configs]
        before = [each.read_bytes() for each in written]
        disk.cut_power(journal_flushed=journal_flushed)
        disk.remount()
        assert [each.read_bytes() for each in written] == before
        assert read_hub_file(path) == joined
        assert [token.agent for token in tokens.read()] == ["bob"]


def test_a_response_whose_file_outlived_a_power_cut_is_announced_once() -> None:
    """It is durable, its file is not deleted yet; afterwards the disk has another device number."""
    with short_directory() as directory, small_disk(directory / "disk", DISK_BYTES) as disk:
        daemon = daemon_with_fuses(directory, {"command-queue": [Shot("delete a response's file", BEFORE, 1)] * AGAIN})
        place_on(disk, daemon)
        try:
            daemon.start()
            outbox = daemon.root / "outbox" / "o0"
            outbox.mkdir()
            with (outbox / "one.json").open("w") as file:
                file.write(json.dumps(RESPONSE))
                file.flush()
                os.fsync(file.fileno())
            wait_until(lambda: burnt(daemon), "the command-queue dies before it deletes the file")
            cut_power(disk, daemon, journal_flushed=True)
            without_fuses(daemon)
            (outbox / "one.json").stat()
            daemon.start()
            evidence = gather(daemon, None)
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()
        assert numbers_of(evidence) == [RESPONSE["number"]]
        assert evidence.outbox == []


def numbers_of(evidence: Evidence) -> list[int]:
    return [one.number for one in evidence.responses]
