"""inherited_signals — undoes what a launcher did to the signals that a program relies on.

A process inherits blocked signals, and signals that are ignored. With SIGCHLD ignored the kernel reaps the children by
itself: nobody learns how one ended, or that it did. With a blocked SIGTERM nobody can stop the program.
"""

__all__ = ["reset_inherited_signals"]

import signal


def reset_inherited_signals() -> None:
    """Gives SIGCHLD its default effect and unblocks all signals; call it before any thread or child is started."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
