"""Suspect input — which exceptions are the fault of the one input that is worked on, and not of the machine.

A worker that dies of an input would die of it again after every restart. So an exception that nobody expected sets that
input aside, and the rest goes on. Exceptions that say something about the machine are left alone: another attempt,
perhaps in another process, may succeed. Not here: what setting aside means (each caller).
"""

__all__ = ["NOT_OF_INPUT"]

NOT_OF_INPUT = (OSError, MemoryError)
"""Exceptions of the machine: its disk, its descriptors, its memory."""
