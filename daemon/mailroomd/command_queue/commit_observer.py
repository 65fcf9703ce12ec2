"""CommitObserver — what one transaction leaves in the log, at debug level, and in the traces of its messages.

Above: the command-queue, for each transaction. Invariant: where neither is wanted, it does nothing.
"""

__all__ = ["CommitObserver"]

import time
from collections.abc import Mapping, Sequence

from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.commands import OrderedCommand, WriteMessage
from mailroomd.storage.database.message_store import StoredMail


class CommitObserver:
    """Takes the times of one transaction; to be made when it begins.

    Args:
        commands: what is carried out.
    """

    def __init__(self, commands: Sequence[OrderedCommand]) -> None:
        self._is_wanted = log.is_debugging or tracing.is_on
        if self._is_wanted:
            self._messages = {one.id: one for one in commands if isinstance(one, WriteMessage)}
            self._begun_ns = time.time_ns()

    def committed(self, mail: Sequence[StoredMail]) -> None:
        """Notes what is durable now."""
        if self._is_wanted:
            self._note("commit", "message committed", mail, {})

    def filed(self, mail: Sequence[StoredMail], errors: Mapping[int, str]) -> None:
        """Notes whose files are there; the errors say whose not."""
        if self._is_wanted:
            self._note("file", "message filed", mail, errors)

    def _note(self, span: str, event: str, mail: Sequence[StoredMail], errors: Mapping[int, str]) -> None:
        for number in (one.id for one in mail if one.id in self._messages):
            command, text = self._messages[number], format_id(number)
            error = {"error": errors[number]} if number in errors else {}
            log.debug(event, message_id=text, request=command.key, **error)
            if command.trace:
                tracing.record_span(span, command.trace, self._begun_ns, message_id=text, **error)
        self._begun_ns = time.time_ns()
