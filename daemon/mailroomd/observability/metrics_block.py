"""MetricsBlock — the metrics of one worker in shared memory.

Owns the writing of single words: counters, gauges, histogram buckets. Readers in other processes see each word whole,
even when its writer is stopped or gone; the writer's successor continues from the same values.
Not here: which words exist (`observability.metrics`). Above: the workers; below: the control page's memory.
Invariant: one process at a time writes a block, without a lock.
"""

__all__ = ["MetricsBlock"]

from typing import Self

from mailroomd.observability.metrics import BLOCK_WORDS, BUCKETS


class MetricsBlock:
    """The metrics of one worker; `words` is a view of unsigned 8-byte words."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    @classmethod
    def private(cls) -> Self:
        """Creates a block that no other process sees."""
        return cls(memoryview(bytearray(BLOCK_WORDS * 8)).cast("Q"))

    def count(self, word: int, amount: int = 1) -> None:
        """Adds to a counter."""
        self._words[word] += amount

    def set(self, word: int, value: int) -> None:
        """Sets a gauge; a negative value becomes 0."""
        self._words[word] = max(0, value)

    def observe(self, word: int, value: int) -> None:
        """Adds a value to the histogram whose first word is given: nanoseconds for a duration."""
        value = max(0, value)
        self._words[word + value.bit_length()] += 1
        self._words[word + BUCKETS] += value

    def read(self) -> tuple[int, ...]:
        """Returns all words; they are not a snapshot of one instant."""
        return tuple(self._words)

    def release(self) -> None:
        """Releases the memory."""
        self._words.release()
