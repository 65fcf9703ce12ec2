"""mailroomd — the Mailroom daemon: a supervisor and its gateway, mailbox and command-queue workers."""

__all__ = ["__version__"]

__version__ = "0.2.0"
