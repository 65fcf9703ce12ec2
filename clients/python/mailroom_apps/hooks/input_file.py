"""InputFile — the file with which a session of Qwen was started: each line that is appended to it is a prompt.

Qwen reads it while it runs (`--input-file`). It drops a prompt that comes while the session is busy.
"""

__all__ = ["InputFile"]

import json
import os

OPTION = "--input-file"


class InputFile:
    """The file; a call appends a prompt."""

    def __init__(self, path: str) -> None:
        self._path = path

    @classmethod
    def of(cls, session: int) -> "InputFile | None":
        """Returns the file of a session, by its process; None if it was started without one."""
        from mailroom_apps.hooks.session_process import arguments_of, directory_of

        arguments = arguments_of(session)
        for index, argument in enumerate(arguments):
            name, equals, value = argument.partition("=")
            if name == OPTION:
                following = "".join(arguments[index + 1 : index + 2])
                return cls(os.path.join(directory_of(session), value if equals else following))
        return None

    def __call__(self, text: str) -> None:
        """Appends a prompt.

        Raises:
            OSError: the file is gone, or cannot be written.
        """
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, json.dumps({"type": "submit", "text": text}).encode() + b"\n")
        finally:
            os.close(descriptor)
