"""units — the unit files that come with the mail room, made ready for the place where it is installed.

Owns the one line that depends on the place, ExecStart; all else is as in `systemd/`, and changes belong into drop-ins
(`systemctl edit`), which an upgrade leaves alone. Source of the quoting: systemd.service(5), "Command lines".
"""

__all__ = ["machine_unit", "machine_user", "person_unit"]

import re
from importlib.resources import files
from pathlib import Path

_EXEC_START = re.compile(r"^ExecStart=.*$", re.MULTILINE)


def person_unit(program: Path) -> str:
    """Returns the unit of one person's mail room, which runs `program`."""
    return _with_program(_shipped("user", "mailroomd.service"), program)


def machine_unit(program: Path) -> str:
    """Returns the unit of a machine's mail room, which runs `program`."""
    return _with_program(_shipped("mailroomd.service"), program)


def machine_user() -> str:
    """Returns the sysusers.d file that makes the user of a machine's mail room."""
    return _shipped("sysusers.d", "mailroom.conf")


def _shipped(*path: str) -> str:
    return files("mailroomd").joinpath("units", *path).read_text(encoding="utf-8")


def _with_program(unit: str, program: Path) -> str:
    return _EXEC_START.sub(lambda _: f"ExecStart={_quoted(program)}", unit)


def _quoted(program: Path) -> str:
    text = str(program).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if re.search(r"[\s\"\\';]", text) else text
