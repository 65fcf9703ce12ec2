"""Clocks — when a time to live ends here, by the clock of this host, although another host's clock has set the end.

Owns the correction. The hub's clock is the common measure: the hub writes its time beside each batch, whose sender has
written its own into it, and beside each record of this host. Differences that a network can make are left alone. Pure:
no I/O.
"""

__all__ = ["TOLERATED_MS", "end_here_ms"]

TOLERATED_MS = 5_000


def end_here_ms(end_ms: int, sent_ms: int, stored_ms: int, behind_ms: int) -> int:
    """Returns when something ends by the clock of this host.

    Args:
        end_ms: when it ends by the sender's clock; 0 for never.
        sent_ms: when its batch was sent, by the sender's clock; 0 if that is not known.
        stored_ms: when the hub stored the batch, by the hub's clock.
        behind_ms: how far this host's clock is behind the hub's.
    """
    if not end_ms or not sent_ms or not stored_ms:
        return end_ms
    correction_ms = stored_ms - sent_ms - behind_ms
    return end_ms + correction_ms if abs(correction_ms) > TOLERATED_MS else end_ms
