"""MetricsBlock — one worker's numbers in shared memory.

Owns the writing of single words: a counter, a gauge, a histogram's bucket. Readers in other processes see each word
whole, and all of them when their writer is stopped or gone; its successor counts on.
Not here: which words there are (`observability.metrics`). Above: the workers; below: the control page's memory.
Invariant: one process at a time writes a block, without any lock.
"""

__all__ = ["MetricsBlock"]

from typing import Self

from mailroomd.observability.metrics import BLOCK_WORDS, BUCKETS


class MetricsBlock:
    """The numbers of one worker; `words` is a view of unsigned 8-byte words."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    @classmethod
    def private(cls) -> Self:
        """Makes a block that no other process sees."""
        return cls(memoryview(bytearray(BLOCK_WORDS * 8)).cast("Q"))

    def count(self, word: int, amount: int = 1) -> None:
        """Adds to a counter."""
        self._words[word] += amount

    def set(self, word: int, value: int) -> None:
        """Sets a gauge; less than nothing counts as nothing."""
        self._words[word] = max(0, value)

    def observe(self, word: int, value: int) -> None:
        """Adds a value to the histogram that begins at a word: nanoseconds where it is a duration."""
        value = max(0, value)
        self._words[word + value.bit_length()] += 1
        self._words[word + BUCKETS] += value

    def read(self) -> tuple[int, ...]:
        """Returns all words; not all of them at one instant."""
        return tuple(self._words)

    def release(self) -> None:
        """Lets go of the memory."""
        self._words.release()
