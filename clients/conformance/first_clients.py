"""first_clients — the ten lines in each language of docs/clients.md, taken out of the page to be run.

Invariant: what is run is what the page says, except for the address.
"""

__all__ = ["ADDRESS", "FILES", "commands_of", "first_client"]

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
FILES = {  # the languages of the page, and how it names their programs
    "python": "first.py",
    "js": "first.mjs",
    "go": "first.go",
    "rust": "first.rs",
    "java": "First.java",
    "cpp": "first.cc",
    "ruby": "first.rb",
}
ADDRESS = "unix:///run/user/1000/mailroom/mailroom.sock"  # as the page writes it


def first_client(language: str, file: Path, target: str) -> Path:
    """Writes the page's program in a language to a file, for a daemon at this target; returns the file.

    Raises:
        ValueError: the page has no such program, or it names no address.
    """
    found = re.search(rf"```{language}\n(.*?)```", _section(), re.DOTALL)
    if found is None or ADDRESS not in found[1]:
        raise ValueError(f"{PAGE.name} has no program in {language} with the address {ADDRESS}")
    file.write_text(found[1].replace(ADDRESS, target))
    return file


def commands_of(language: str) -> str:
    """Returns the page's commands that build and run the program in a language.

    Raises:
        ValueError: the page has none.
    """
    found = re.search(rf"`{FILES[language]}`.*?```{language}\n.*?```\n\n```sh\n(.*?)```", _section(), re.DOTALL)
    if found is None:
        raise ValueError(f"{PAGE.name} has no commands for {FILES[language]}")
    return found[1]


def _section() -> str:
    return PAGE.read_text().partition("\n## The first client\n")[2].partition("\n## ")[0]
