"""ForwardOperations — carries out what the relay asks for, in the open transaction of `MessageStore`.

Not here: the tables (`ForwardQueue`, `Arrivals`), messages from other hosts (`NewMessages`).
"""

__all__ = ["ForwardOperation", "ForwardOperations"]

from collections.abc import Sequence

from mailroomd.model.states import DeliveryState
from mailroomd.protocol.operations import Confirm, GiveUp, Intend, RecordReceipts, Return
from mailroomd.protocol.reports import StatesAdvanced
from mailroomd.storage.database.arrivals import Arrivals
from mailroomd.storage.database.forward_queue import ForwardQueue
from mailroomd.storage.database.message_steps import MessageSteps
from mailroomd.storage.database.new_messages import NewMessages

ForwardOperation = Intend | Confirm | Return | RecordReceipts | GiveUp


class ForwardOperations:
    """Carries out operations.

    Args:
        queue: what waits for other hosts.
        messages: gives messages of other hosts back.
        arrivals: applies their receipts.
        steps: moves messages on.
    """

    def __init__(self, queue: ForwardQueue, messages: NewMessages, arrivals: Arrivals, steps: MessageSteps) -> None:
        self._queue = queue
        self._messages = messages
        self._arrivals = arrivals
        self._steps = steps

    def carry_out(
        self, op: ForwardOperation, first_id: int, now_ms: int
    ) -> tuple[Sequence[StatesAdvanced], dict[str, None]]:
        """Carries out an operation under sequence ids; returns what moved on, and the senders to notify."""
        match op:
            case Intend():
                self._queue.intend(op)
            case Confirm():
                self._queue.confirm(op)
            case Return(origin, reason):
                self._messages.give_back(origin, first_id, reason, now_ms)
            case RecordReceipts(receipts):
                return self._arrivals.apply_receipts(first_id, receipts, now_ms)
            case GiveUp():
                returned_ids, senders = self._steps.mark_returned(first_id, op, now_ms)
                return [StatesAdvanced(DeliveryState.RETURNED, returned_ids)], senders
        return [], {}
