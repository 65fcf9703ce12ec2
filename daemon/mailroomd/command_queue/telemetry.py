"""CommitTelemetry and FilingTelemetry — what a transaction leaves in the metrics, the debug log and the traces.

Two observers of commits: one follows the transaction, the other the inbox files. Invariant: they cost a few
microseconds for each transaction, and nothing for each message unless debug logging or tracing is on.
"""

__all__ = ["CommitTelemetry", "FilingTelemetry"]

import time

from mailroomd.command_queue.commit import Commit, CommitObserver
from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.observability.metrics import (
    COMMIT_COMMANDS,
    COMMIT_SECONDS,
    FILE_SECONDS,
    FSYNC_SECONDS,
    OVERDUE_DEADLINES,
)
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.operations import Send


class CommitTelemetry(CommitObserver):
    """Records that a transaction is durable.

    Args:
        metrics: the command-queue's.
    """

    def __init__(self, metrics: MetricsBlock) -> None:
        self._metrics = metrics

    def on_committed(self, commit: Commit) -> None:
        """Records the duration of the transaction and of its COMMIT, and its commands; counts overdue answers."""
        self._metrics.observe(COMMIT_SECONDS.at, commit.ended_ns - commit.started_ns)
        self._metrics.observe(FSYNC_SECONDS.at, commit.sync_ns)
        self._metrics.observe(COMMIT_COMMANDS.at, len(commit.commands))
        if commit.result.overdue:
            self._metrics.count(OVERDUE_DEADLINES.at, commit.result.overdue)
        _trace(commit, "commit", "message committed", commit.started_at_ns)


class FilingTelemetry(CommitObserver):
    """Records that the inbox files of a transaction are written, except those with an error.

    Args:
        metrics: the command-queue's.
    """

    def __init__(self, metrics: MetricsBlock) -> None:
        self._metrics = metrics

    def on_committed(self, commit: Commit) -> None:
        """Records the duration of the filing."""
        if commit.result.mail:
            self._metrics.observe(FILE_SECONDS.at, commit.filing_ns)
            _trace(commit, "file", "message filed", time.time_ns() - commit.filing_ns)


def _trace(commit: Commit, span: str, event: str, started_at_ns: int) -> None:
    """Logs a step of each new message, and adds its span to those that are traced."""
    if not (log.is_debugging or tracing.is_on):
        return
    commands = {command.id: command for command in commit.commands}
    for message in commit.result.mail:
        command = commands.get(message.id)
        if command is None or not isinstance(command.op, Send):
            continue
        message_id, errors = format_id(message.id), commit.file_errors
        error = {"error": errors[message.id]} if message.id in errors else {}
        log.debug(event, message_id=message_id, request=command.op.key, **error)
        if command.trace:
            tracing.record_span(span, command.trace, started_at_ns, message_id=message_id, **error)
