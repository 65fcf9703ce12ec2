"""WriteWatch: the watch itself finds what it is there for, also what was reached by a link."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.faults.write_watch import WriteWatch, watch_command

pytestmark = pytest.mark.system

CHANGES = {
    "made": "open(inside / 'made', 'w').close()",
    "made through a link": "open(inside / 'link' / 'f', 'w').close()",
    "made below a handle": "os.open('g', os.O_CREAT | os.O_WRONLY, dir_fd=os.open(inside / 'link', os.O_RDONLY))",
    "a directory": "os.mkdir(inside / 'link' / 'd')",
    "renamed": "os.rename(inside / 'old', inside / 'link' / 'new')",
    "taken away": "os.unlink(inside / 'link' / 'there')",
    "cut": "os.truncate(inside / 'link' / 'there', 0)",
    "by a child": "subprocess.run(['touch', str(inside / 'link' / 'h')])",
}
OUTSIDE = {
    "made": "",
    "made through a link": "f",
    "made below a handle": "g",
    "a directory": "d",
    "renamed": "new",
    "taken away": "there",
    "cut": "there",
    "by a child": "h",
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_is_seen_where_it_really_happened(what: str, tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "old").touch()
    (outside / "there").touch()
    (inside / "link").symlink_to(outside)
    program = f"import os, pathlib, subprocess\ninside = pathlib.Path({str(inside)!r})\n{CHANGES[what]}"
    subprocess.run([*watch_command(tmp_path / "trace"), sys.executable, "-S", "-c", program], check=True, timeout=60)
    changed = {one for one in WriteWatch(tmp_path / "trace").changed() if one.startswith(str(outside))}
    assert changed == ({f"{outside}/{OUTSIDE[what]}"} if OUTSIDE[what] else set())


def test_reading_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    program = f"open({str(tmp_path / 'there')!r}).read()"
    subprocess.run([*watch_command(tmp_path / "trace"), sys.executable, "-S", "-c", program], check=True, timeout=60)
    assert not [one for one in WriteWatch(tmp_path / "trace").changed() if "there" in one]
