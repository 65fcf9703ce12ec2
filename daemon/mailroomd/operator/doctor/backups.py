"""Backups — is there a staged backup that the daemon could not use, or has not taken yet?"""

__all__ = ["check"]

from collections.abc import Iterator

from mailroom.state_lock import read_state_lock

from mailroomd.model.settings import RESTORE_DIRECTORY
from mailroomd.operator.doctor.finding import Finding, warning
from mailroomd.operator.installation import Installation
from mailroomd.operator.restore import is_staged, rejected_backups


def check(installation: Installation) -> Iterator[Finding]:
    """Looks for staged backups in the state directory. Reports nothing if there is none."""
    for path in rejected_backups(installation):
        yield warning(
            "restore",
            f"the daemon refused to restore {path}, and kept its own database",
            f"find the reason in its log (`backup not restored`), restore another backup, then rm -r {path}",
        )
    if is_staged(installation) and not read_state_lock(installation.state_dir).is_held:
        path = installation.state_dir / RESTORE_DIRECTORY
        advice = f"start `mailroomd`, which restores it; otherwise rm -r {path}"
        yield warning("restore", f"a backup waits in {path}", advice)
