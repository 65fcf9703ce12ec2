"""CommitObserver — what one transaction leaves in the metrics, the debug log and the traces of its messages.

Above: `Committer`, which makes one for each attempt. Invariant: it costs a few microseconds for each transaction, and
nothing for each message unless debug logging or tracing is on.
"""

__all__ = ["CommitObserver"]

import time
from collections.abc import Mapping, Sequence

from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.observability.metrics import COMMIT_COMMANDS, COMMIT_SECONDS, FILE_SECONDS, FSYNC_SECONDS
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.commands import SequencedCommand, WriteMessage
from mailroomd.storage.database.message_store import StoredMail


class CommitObserver:
    """Measures one transaction; to be made when it begins.

    Args:
        metrics: the command-queue's.
        commands: the commands that it contains.
    """

    def __init__(self, metrics: MetricsBlock, commands: Sequence[SequencedCommand]) -> None:
        self._metrics = metrics
        self._command_count = len(commands)
        self._started_ns = time.monotonic_ns()
        self._filing_started_ns = 0
        self._is_tracing = log.is_debugging or tracing.is_on
        if self._is_tracing:
            self._writes = {command.id: command for command in commands if isinstance(command, WriteMessage)}
            self._span_started_ns = time.time_ns()

    def record_commit(self, mail: Sequence[StoredMail], sync_ns: int) -> None:
        """Records that the transaction is durable.

        Args:
            mail: the new messages.
            sync_ns: how long its COMMIT took.
        """
        self._metrics.observe(COMMIT_SECONDS.at, time.monotonic_ns() - self._started_ns)
        self._metrics.observe(FSYNC_SECONDS.at, sync_ns)
        self._metrics.observe(COMMIT_COMMANDS.at, self._command_count)
        self._trace("commit", "message committed", mail, {})

    def begin_filing(self) -> None:
        """Starts the clock of `record_filing`."""
        self._filing_started_ns = time.monotonic_ns()

    def record_filing(self, mail: Sequence[StoredMail], errors: Mapping[int, str]) -> None:
        """Records that the inbox files of these messages are written, except those with an error."""
        if mail:
            self._metrics.observe(FILE_SECONDS.at, time.monotonic_ns() - self._filing_started_ns)
            self._trace("file", "message filed", mail, errors)

    def _trace(self, span: str, event: str, mail: Sequence[StoredMail], errors: Mapping[int, str]) -> None:
        if not self._is_tracing:
            return
        for message in mail:
            command = self._writes.get(message.id)
            if command is None:
                continue
            message_id = format_id(message.id)
            error = {"error": errors[message.id]} if message.id in errors else {}
            log.debug(event, message_id=message_id, request=command.key, **error)
            if command.trace:
                tracing.record_span(span, command.trace, self._span_started_ns, message_id=message_id, **error)
        self._span_started_ns = time.time_ns()
