"""Launch — opens the operator's browser on a one-time link, which appears in no list of processes.

The browser is given a file that only its user can read; the file leads on to the link.
"""

__all__ = ["can_open_browser", "launch_browser", "remove_launch_files"]

import html
import os
import secrets
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from mailroom.private_file import write_private_file

NAME = "launch-*.html"


def can_open_browser(environ: Mapping[str, str] = os.environ) -> bool:
    """Returns whether there is a graphical session; a browser in the terminal cannot show the page."""
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def launch_browser(directory: Path, link: str) -> None:
    """Opens the browser on a link; does nothing if there is no browser."""
    file = directory / NAME.replace("*", secrets.token_hex(8))
    target = html.escape(link, quote=True)
    write_private_file(file, f'<!doctype html><meta http-equiv="refresh" content="0;url={target}">\n'.encode())
    webbrowser.open(file.as_uri())


def remove_launch_files(directory: Path) -> None:
    """Removes the files of earlier launches, whose links are used or too old."""
    for file in directory.glob(NAME):
        file.unlink(missing_ok=True)
