"""Sends each line of standard input as a message, in bulk and in bounded memory. Repeating it sends nothing twice.

$ python bulk_import.py archive log-2026 < lines.txt
"""

import sys
from collections.abc import Iterable, Iterator

from mailroom import Draft, Mailroom


def drafts(recipient: str, batch: str, lines: Iterable[str]) -> Iterator[Draft]:
    """Yields a draft for each line, with a key that is the same at every run."""
    for number, line in enumerate(lines, start=1):
        yield Draft(recipient, line.rstrip("\n"), idempotency_key=f"{batch}-{number}")


def main(recipient: str, batch: str) -> None:
    """Sends the lines and reports those that were refused."""
    stored = 0
    with Mailroom(sender="importer") as room:
        for number, outcome in enumerate(room.send_many(drafts(recipient, batch, sys.stdin)), start=1):
            if outcome.error is None:
                stored += 1
            else:
                print(f"line {number}: {outcome.error}", file=sys.stderr)
    print(f"{stored} stored")


if __name__ == "__main__":
    main(*sys.argv[1:])
