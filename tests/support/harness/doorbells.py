"""Doorbells — what tests see of a doorbell: whether it watches, how it ends, and what became of its mail."""

__all__ = ["MAIL", "NO_MAIL", "end_of", "is_watching", "state_of", "wait_until_watching"]

import subprocess
from contextlib import suppress
from pathlib import Path

from mailroom import DeliveryState, Mailroom
from support.harness.hooks import Session
from support.harness.waiting import BOUND_SEC, wait_until

MAIL, NO_MAIL = 2, 0  # exit codes


def is_watching(session: Session) -> bool:
    """Returns whether a doorbell watches the session."""
    bell = session.state_file.with_suffix(".bell")
    return bell.exists() and bool(bell.read_bytes())


def wait_until_watching(session: Session) -> None:
    """Waits until a doorbell watches the session and has gRPC's threads: its stream is open, or about to be.

    The daemon does not report observing streams. Nothing depends on that: mail that arrives before the stream is open
    is found in the inbox directory.
    """
    bell = session.state_file.with_suffix(".bell")

    def has_threads() -> bool:
        with suppress(OSError, ValueError):
            return len(list(Path(f"/proc/{int(bell.read_bytes())}/task").iterdir())) > 1
        return False

    wait_until(has_threads, "a doorbell watches")


def end_of(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Returns the exit code of a doorbell and its stderr."""
    _, stderr = process.communicate(timeout=BOUND_SEC)
    return process.returncode, (stderr or b"").decode()


def state_of(client: Mailroom, message_id: str) -> DeliveryState:
    return client.get_message(message_id).delivery.state
