"""crashing_daemon — the daemon, whose processes may have fuses: a program with the daemon's own command line.

It changes one thing, the targets of the children, which are data; and lays the supervisor's own fuse.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from mailroomd.cli.main import main
from mailroomd.model.settings import Settings
from mailroomd.supervisor import daemon
from mailroomd.supervisor.child import ChildSpec
from mailroomd.supervisor.children import mailroom_children
from support.faults.crash_points import Shot, arm
from support.faults.crashing_worker import JOURNAL, PLAN


def _children(settings: Settings) -> Sequence[ChildSpec]:
    return [replace(one, target="support.faults.crashing_worker:main") for one in mailroom_children(settings)]


if __name__ == "__main__":
    daemon.mailroom_children = _children  # pyright: ignore[reportAttributeAccessIssue] - the one change
    for shot in json.loads(os.environ.get(PLAN, "{}")).get("supervisor", []):
        arm("supervisor", Shot(*shot), os.environ[JOURNAL])
    sys.exit(main())
