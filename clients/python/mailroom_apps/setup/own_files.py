"""Own files — whole files of ours that another program looks for: written, replaced and removed as they are.

A file with one of these names that somebody else wrote is left alone. Ours are known by a mark: in JSON a key or a
value says `mailroom`, and other files begin with a line that does.
"""

__all__ = ["plan_own_files"]

import json
from collections.abc import Mapping
from pathlib import Path

from mailroom_apps.setup.change import Change, SetupError, read_text

MARK = "mailroom"


def plan_own_files(directory: Path, files: Mapping[str, object], *, remove: bool) -> list[Change]:
    """Returns the changes of files.

    Args:
        directory: holds all of them; directories below it that are empty afterwards are removed.
        files: what each holds, by its path below the directory: text, or values that become JSON.
        remove: they should not be there.

    Raises:
        SetupError: one of them belongs to somebody else, or cannot be read.
    """
    return [_plan(directory, name, content, remove=remove) for name, content in files.items()]


def _plan(directory: Path, name: str, content: object, *, remove: bool) -> Change:
    path = directory / name
    before = read_text(path)
    if before is not None and MARK not in before.lower():
        if remove:
            return Change(path, before, before)
        raise SetupError(f"{path} was not changed: it is not a file of ours; rename it first")
    after = None if remove else content if isinstance(content, str) else f"{json.dumps(content, indent=2)}\n"
    old, new = ([] if text is None else [("the file", _shown(text))] for text in (before, after))
    return Change(path, before, after, old, new, made_below=directory)


def _shown(text: str) -> object:
    """Returns what a description shows of a file: its values, or its lines."""
    try:
        return json.loads(text)
    except ValueError:
        return text.splitlines()
