"""reload — what a SIGHUP changes: the settings that may change while mail flows, and no others.

Owns the merge of the settings that hold with those that are wanted. Which of them can be reloaded is declared with each
setting (`model.settings`); reading them again is the command line's part, handing them on the supervisor's.
"""

__all__ = ["Reload", "merge"]

from dataclasses import dataclass, replace

from mailroomd.model.settings import Settings, settings_table


@dataclass(frozen=True, slots=True)
class Reload:
    """The outcome of one reload.

    Attributes:
        settings: what holds from now on.
        changed: the keys of those that are different now.
        need_restart: the keys of those that were changed, too, but stay as they are until the daemon is restarted.
    """

    settings: Settings
    changed: tuple[str, ...]
    need_restart: tuple[str, ...]


def merge(current: Settings, wanted: Settings) -> Reload:
    """Returns what becomes of `current` when `wanted` is asked for."""
    differing = [row for row in settings_table() if getattr(current, row.field) != getattr(wanted, row.field)]
    taken = {row.field: getattr(wanted, row.field) for row in differing if row.reloadable}
    return Reload(
        replace(current, **taken),
        tuple(row.key for row in differing if row.reloadable),
        tuple(row.key for row in differing if not row.reloadable),
    )
