"""poisoned_daemon — the daemon, in which some inputs raise: a program with the daemon's own command line."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from mailroomd.cli.main import main
from mailroomd.model.settings import Settings
from mailroomd.supervisor import daemon
from mailroomd.supervisor.child import ChildSpec
from mailroomd.supervisor.children import mailroom_children


def _children(settings: Settings) -> Sequence[ChildSpec]:
    return [replace(one, target="support.faults.poisoned_worker:main") for one in mailroom_children(settings)]


if __name__ == "__main__":
    daemon.mailroom_children = _children  # pyright: ignore[reportAttributeAccessIssue] - the one change
    sys.exit(main())
