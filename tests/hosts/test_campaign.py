"""Mail between three hosts over a hub of three servers, in spite of everything in the table of faults.

Each on a machine and a disk of its own. `make test-hosts` injects some faults, others each time; `make hosts` injects
all of them over and over for half an hour (MAILROOM_HOSTS_SEC), and writes down how often. MAILROOM_TEST_SEED repeats a
run's choice.
"""

import os
import time
from collections import Counter
from random import Random

import pytest
from support.harness.waiting import chance, pause
from support.hosts.campaign_results import note_campaign
from support.hosts.faults.hub_contents import old_server
from support.hosts.faults.stage import Stage
from support.hosts.faults.table import FAULTS
from support.hosts.traffic import Traffic
from support.hosts.wide_bed import running_wide_bed

pytestmark = [pytest.mark.system, pytest.mark.timeout(3600)]

CAMPAIGN_SEC = float(os.environ.get("MAILROOM_HOSTS_SEC", "0"))
BED_SEC = 420.0  # of one bed in a campaign; the next one is new, and its servers are old ones again
FAULTS_AT_ONCE = 6  # between two looks at everything
SHORT = 8  # faults of `make test-hosts`


def inject(stage: Stage, names: list[str], faults: Counter[str]) -> None:
    """Injects faults under mail, waits until everything has arrived, and checks it."""
    with stage.traffic.running():
        for name in names:
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
            FAULTS[name](stage)
            faults[name] += 1
            pause(stage.chance.uniform(0.0, 2.0))
        stage.traffic.wait_progress()
    stage.bed.wait_at_rest()


def in_turn(random: Random) -> list[str]:
    """Returns all faults in any order."""
    return random.sample(sorted(FAULTS), len(FAULTS))


def test_mail_survives_faults_of_hosts_hub_and_network() -> None:
    random = chance("hosts")
    faults: Counter[str] = Counter()
    with running_wide_bed() as bed:
        traffic = Traffic(bed, random.randrange(1 << 32))
        inject(Stage(bed, traffic, random, long_sec=4.0), in_turn(random)[:SHORT], faults)
        bed.wait_at_rest(is_last=True)
        assert len(bed.sent) > 100
        assert traffic.local_sends > 50


if CAMPAIGN_SEC:

    def test_mail_survives_the_whole_table_for_half_an_hour() -> None:
        random = chance("hosts campaign")
        faults: Counter[str] = Counter()
        messages: Counter[str] = Counter()
        ends_at = time.monotonic() + CAMPAIGN_SEC
        left: list[str] = []
        while time.monotonic() < ends_at:
            with running_wide_bed(old_server()) as bed:
                traffic = Traffic(bed, random.randrange(1 << 32))
                bed_ends_at = min(ends_at, time.monotonic() + BED_SEC)
                while time.monotonic() < bed_ends_at:
                    left = left if len(left) >= FAULTS_AT_ONCE else left + in_turn(random)
                    inject(Stage(bed, traffic, random), left[:FAULTS_AT_ONCE], faults)
                    del left[:FAULTS_AT_ONCE]
                bed.wait_at_rest(is_last=True)
                messages.update(bed.tally())
                messages["local"] += traffic.local_sends
        note_campaign(CAMPAIGN_SEC, faults, messages)
