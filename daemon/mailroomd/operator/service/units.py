"""units — the packaged unit files, adapted to this installation.

Only ExecStart depends on the installation; everything else is as in `systemd/`. Local changes belong in drop-ins
(`systemctl edit`), which an upgrade preserves. Source of the quoting: systemd.service(5), "Command lines".
"""

__all__ = ["dashboard_unit", "system_unit", "system_user", "user_unit"]

import re
from importlib.resources import files
from pathlib import Path

_EXEC_START = re.compile(r"^ExecStart=.*$", re.MULTILINE)


def user_unit(program: Path) -> str:
    """Returns the user unit, which runs `program`."""
    return _with_program(_packaged("user", "mailroomd.service"), program)


def system_unit(program: Path) -> str:
    """Returns the system unit, which runs `program`."""
    return _with_program(_packaged("mailroomd.service"), program)


def dashboard_unit(program: Path) -> str:
    """Returns the user unit that runs the dashboard of `program`, which is `mailroom`."""
    return _with_program(_packaged("user", "mailroom-dashboard.service"), program, " dashboard --no-open --no-link")


def system_user() -> str:
    """Returns the sysusers.d file that creates the user of the system service."""
    return _packaged("sysusers.d", "mailroom.conf")


def _packaged(*path: str) -> str:
    return files("mailroomd").joinpath("units", *path).read_text(encoding="utf-8")


def _with_program(unit: str, program: Path, arguments: str = "") -> str:
    return _EXEC_START.sub(lambda _: f"ExecStart={_quoted(program)}{arguments}", unit)


def _quoted(program: Path) -> str:
    text = str(program).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if re.search(r"[\s\"\\';]", text) else text
