"""daemon_command — where the program `mailroomd` is.

The daemon and its clients come in one wheel, so it usually lies beside the Python that runs this; a client knows no
more of it than its name.
"""

__all__ = ["find_mailroomd"]

import shutil
import sys
from pathlib import Path

from mailroom.errors import MailroomError


def find_mailroomd() -> Path:
    """Returns the program's absolute path: beside this Python, else on the PATH.

    Raises:
        MailroomError: it is neither here nor there.
    """
    beside = Path(sys.executable).with_name("mailroomd")
    found = str(beside) if beside.is_file() else shutil.which("mailroomd")
    if found is None:
        raise MailroomError(f"cannot find the program mailroomd, neither beside {sys.executable} nor on the PATH")
    return Path(found).absolute()
