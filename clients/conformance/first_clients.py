"""first_clients — the ten lines in each language of docs/clients.md, taken out of the page to be run.

Invariant: what is run is what the page says, except for the address.
"""

__all__ = ["ADDRESS", "first_client"]

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
ADDRESS = "unix:///run/user/1000/mailroom/mailroom.sock"  # as the page writes it


def first_client(language: str, file: Path, target: str) -> Path:
    """Writes the page's program in a language to a file, for a daemon at this target; returns the file.

    Raises:
        ValueError: the page has no such program, or it names no address.
    """
    section = PAGE.read_text().partition("\n## The first client\n")[2].partition("\n## ")[0]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    if found is None or ADDRESS not in found[1]:
        raise ValueError(f"{PAGE.name} has no program in {language} with the address {ADDRESS}")
    file.write_text(found[1].replace(ADDRESS, target))
    return file
