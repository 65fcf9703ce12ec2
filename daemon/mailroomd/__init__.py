"""mailroomd — the mail room's daemon: a supervisor and its mailbox, command-queue and gateway workers."""

__all__ = ["__version__"]

__version__ = "0.2.0"
