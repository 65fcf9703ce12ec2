"""find_mailroomd — locates the program `mailroomd`.

Daemon and clients come in one wheel, so the program usually lies beside the running Python interpreter.
"""

__all__ = ["find_mailroomd"]

import shutil
import sys
from pathlib import Path

from mailroom.errors import MailroomError


def find_mailroomd() -> Path:
    """Returns the program's absolute path: beside this Python interpreter, otherwise on the PATH.

    Raises:
        MailroomError: the program was not found.
    """
    beside = Path(sys.executable).with_name("mailroomd")
    program = str(beside) if beside.is_file() else shutil.which("mailroomd")
    if program is None:
        raise MailroomError(f"cannot find the program mailroomd, neither beside {sys.executable} nor on the PATH")
    return Path(program).absolute()
