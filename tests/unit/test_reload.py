"""Which settings a reload changes, and which need a restart."""

from dataclasses import replace
from pathlib import Path

from mailroomd.model.settings import Settings, settings_table
from mailroomd.supervisor.reload import merge

CURRENT = Settings(root=Path("/r"), state_dir=Path("/s"), listen=("unix:/l",))


def test_reloadable_settings_change_and_the_others_are_reported() -> None:
    wanted = replace(CURRENT, max_unread=7, log_level="debug", root=Path("/other"), table_bytes=8 << 20)
    reload = merge(CURRENT, wanted)
    assert reload.settings == replace(CURRENT, max_unread=7, log_level="debug")
    assert reload.changed == ("max-unread", "log-level")
    assert reload.need_restart == ("root", "table-size")


def test_unchanged_settings_change_nothing() -> None:
    reload = merge(CURRENT, replace(CURRENT))
    assert (reload.settings, reload.changed, reload.need_restart) == (CURRENT, (), ())


def test_paths_addresses_and_memory_are_not_reloadable() -> None:
    groups = {setting.group for setting in settings_table() if setting.reloadable}
    assert groups
    assert not groups & {"paths and addresses", "access", "memory"}
