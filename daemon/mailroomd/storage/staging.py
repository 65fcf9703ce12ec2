"""STAGING_NAME — the directory in which `mailroom restore` leaves a backup, all at once, for the daemon to take.

It is looked for by the supervisor, which restarts the workers, and emptied by the command-queue (`storage.restore`).
"""

__all__ = ["STAGING_NAME"]

STAGING_NAME = "restore"  # below the state directory; holds a mailroom.db
