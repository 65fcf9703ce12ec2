"""reload — merges settings that were read again, on SIGHUP, into those in effect.

Owns the merge. Each setting declares whether it can be reloaded (`model.settings`). The command line reads the settings
again, and the supervisor passes them to the workers.
"""

__all__ = ["Reload", "merge"]

from dataclasses import dataclass, replace

from mailroomd.model.settings import Settings, settings_table


@dataclass(frozen=True, slots=True)
class Reload:
    """The result of a reload.

    Attributes:
        settings: the settings in effect from now on.
        changed: keys of the settings that have changed.
        need_restart: keys of the settings that were changed but keep their value until the daemon is restarted.
    """

    settings: Settings
    changed: tuple[str, ...]
    need_restart: tuple[str, ...]


def merge(current: Settings, wanted: Settings) -> Reload:
    """Returns `current` with every reloadable setting of `wanted`."""
    differing = [row for row in settings_table() if getattr(current, row.field) != getattr(wanted, row.field)]
    changes = {row.field: getattr(wanted, row.field) for row in differing if row.reloadable}
    return Reload(
        replace(current, **changes),
        tuple(row.key for row in differing if row.reloadable),
        tuple(row.key for row in differing if not row.reloadable),
    )
