"""DirectAnswers — answers senders as soon as their messages are durable and filed, without a detour by the mailbox.

Owns the queues of answers to the gateways. It answers the plain case only: a new message that waits for nothing else,
in a commit of few. Every other outcome, and an answer for which a queue has no room, is left to the mailbox. As an
observer of commits it follows the inbox files and precedes the outcomes, which say who is answered. Not here: what an
outcome says (`MessageStore`). Above: `Parts`; below: `PacketQueue`, `AnsweredMark`.
Invariants: a sender is answered only after its message is durable and filed; an answer says nothing that the mailbox
would not say, so a call that is answered twice, after a crash between the two, was answered alike.
"""

__all__ = ["DirectAnswers"]

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from mailroomd.command_queue.commit import Commit, CommitObserver
from mailroomd.ipc.queue import PacketQueue
from mailroomd.protocol.operations import Sent
from mailroomd.protocol.packets import Answer, Command, Outcome
from mailroomd.table.answered_mark import AnsweredMark

FEW_COMMANDS = 4
"""Of one commit: a larger one has company, the mailbox is awake, and has more time to spare than the command-queue."""


class DirectAnswers(CommitObserver):
    """Answers senders.

    Args:
        queues: of each gateway, by index.
        mark: says how far senders were answered.
    """

    def __init__(self, queues: Sequence[PacketQueue[Answer]], mark: AnsweredMark) -> None:
        self._queues = queues
        self._mark = mark

    def on_committed(self, commit: Commit) -> None:
        """Answers the senders of a transaction's messages, if they are few, and notes in the outcomes which ones."""
        if len(commit.commands) > FEW_COMMANDS:
            return
        waiting: defaultdict[int, list[tuple[int, Answer]]] = defaultdict(list)
        now_ns = time.monotonic_ns()
        for command, sent in self._answerable(commit):
            answer = Answer(command.call, sent, command.subscribers, command.recipient_seen_ms, now_ns)
            waiting[command.gateway].append((command.id, answer))
        answered: set[int] = set()
        for gateway, answers in waiting.items():
            self._mark.advance(answers[-1][0])
            answered.update(message_id for message_id, _ in answers[: self._send(gateway, answers)])
        if answered:
            commit.result.outcomes = [
                msgspec.structs.replace(item, is_answered=True)
                if isinstance(item, Outcome) and item.id in answered
                else item
                for item in commit.result.outcomes
            ]

    def _answerable(self, commit: Commit) -> Iterator[tuple[Command, Sent]]:
        """Yields the commands of new messages whose senders wait for nothing else, in the order of their ids."""
        commands = {command.id: command for command in commit.commands if command.call}
        for item in commit.result.outcomes if commands else ():
            if isinstance(item, Outcome) and isinstance(item.result, Sent) and item.id in commands:
                command, sent = commands[item.id], item.result
                if command.gateway < len(self._queues) and not (sent.is_repeated or sent.awaits_team):
                    yield command, sent

    def _send(self, gateway: int, answers: Sequence[tuple[int, Answer]]) -> int:
        """Sends answers to a gateway; returns how many its queue had room for."""
        try:
            return self._queues[gateway].send_items([answer for _, answer in answers])
        except OSError:  # short of descriptors or memory
            return 0
