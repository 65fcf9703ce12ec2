"""ModelWorld — hosts and a hub that loses, repeats, reorders, forgets and lies; and the checker over all of them.

Owns what was accepted, in which order, and what a restored backup excuses: a message that its sender's database no
longer has, or that its recipient's had. Above: the state machine, and the planted violations.
"""

__all__ = ["ModelWorld", "Violation"]

import random
from collections import Counter
from itertools import count

from mailroomd.core.forwarding.outgoing import Report
from support.forwarding.model_host import EXPIRED, FILED, Database, Envelope, ModelHost

ROUNDS = 400  # until everything has come to rest; each is 20 s long
ROUND_SEC = 20.0


class Violation(AssertionError):  # noqa: N818 - names what was found
    """A promise is broken."""


class ModelWorld:
    """Hosts and their hub.

    Args:
        names: of the hosts.
        host_type: a `ModelHost`, or one with a planted fault.
    """

    def __init__(self, names: list[str], host_type: type[ModelHost] = ModelHost) -> None:
        runs = count(1)
        self.hosts = {
            name: host_type(name, [peer for peer in names if peer != name], lambda: next(runs)) for name in names
        }
        self.hub: dict[str, list[Envelope]] = {name: [] for name in names}
        self.now_sec = 0.0
        self.accepted: list[tuple[str, str, str]] = []  # token, sender, recipient
        self.excused: set[str] = set()
        self.restored: set[str] = set()
        self._tokens = count(1)

    # -- what happens ---------------------------------------------------------------------------------------------

    def send(self, sender: str, recipient: str) -> str:
        """Has a host accept a message."""
        token = f"t{next(self._tokens)}"
        self.hosts[sender].send(recipient, token)
        self.accepted.append((token, sender, recipient))
        return token

    def publish(self, sender: str, recipient: str, copies: int = 1, *, is_accepted: bool = True) -> None:
        """Publishes the next batch: `copies` of it arrive at the hub; its acknowledgement is another matter."""
        host = self.hosts[sender]
        batch = host.intend(recipient)
        if batch is None:
            return
        envelope = host.pack(recipient, batch)
        self.hub[recipient] += [envelope] * (copies if envelope.items else 0)
        if is_accepted:
            host.on_published(recipient, batch, envelope, self.now_sec)

    def deliver(self, recipient: str, index: int = 0, limit: int = 1 << 30, *, stays: bool = False) -> None:
        """Delivers a batch from the hub; it stays there if it is not stored, or if the acknowledgement is lost."""
        waiting = self.hub[recipient]
        if not waiting:
            return
        envelope = waiting[index % len(waiting)]
        if self.hosts[recipient].receive(envelope, limit) and not stays:
            waiting.remove(envelope)
        self.check_now()

    def ask(self, sender: str, recipient: str, *, is_idle: bool | None = None) -> Report:
        """Returns what the recipient reports to the sender."""
        runs = self.hosts[sender].outgoing[recipient].runs()
        idle = not any(envelope.sender == sender for envelope in self.hub[recipient]) if is_idle is None else is_idle
        return self.hosts[recipient].report(sender, runs, is_idle=idle)

    def tell(self, sender: str, recipient: str, report: Report) -> None:
        """Gives the sender a report, which may be old."""
        self.hosts[sender].on_report(recipient, report, self.now_sec)
        self.check_now()

    def expire(self, sender: str, recipient: str) -> None:
        """Lets a message expire at its sender."""
        self.hosts[sender].expire(recipient)

    def lose_power(self, name: str) -> None:
        """Cuts the power of a host: that excuses nothing."""
        self.hosts[name].lose_power()

    def restore(self, name: str, backup: Database) -> None:
        """Restores a backup of a host."""
        host = self.hosts[name]
        had = self._tokens_in(host)
        host.restore(backup)
        self.excused |= had - self._tokens_in(host)
        self.restored.add(name)

    @staticmethod
    def _tokens_in(host: ModelHost) -> set[str]:
        left = {message.token for messages in host.db.outbox.values() for message in messages.values()}
        arrived = {message.token for messages in host.db.mailbox.values() for message in messages}
        waiting = {item.token for items in host.db.queue.values() for item in items if item.token}
        return left | arrived | waiting

    # -- what must hold -------------------------------------------------------------------------------------------

    def come_to_rest(self, seed: int = 0) -> None:
        """Heals everything and lets the hosts work until nothing is left to do.

        Raises:
            Violation: they do not come to rest.
        """
        order = random.Random(seed)
        for _ in range(ROUNDS):
            self.now_sec += ROUND_SEC
            pairs = [(sender, recipient) for sender in self.hosts for recipient in self.hosts[sender].peers]
            order.shuffle(pairs)
            for sender, recipient in pairs:
                self._work(sender, recipient)
            if not any(self.hub.values()) and not any(any(host.db.queue.values()) for host in self.hosts.values()):
                return
        left = {host.name: host.db.queue for host in self.hosts.values()}
        raise Violation(f"not at rest: {left}, hub {self.hub}")

    def _work(self, sender: str, recipient: str) -> None:
        host, peer = self.hosts[sender], self.hosts[recipient]
        self.publish(sender, recipient)
        for envelope in [envelope for envelope in self.hub[recipient] if envelope.sender == sender]:
            if peer.receive(envelope) or sender in peer.misses:  # what follows a gap is dropped: it comes again
                self.hub[recipient].remove(envelope)
        self.check_now()
        if sender in peer.misses or host.outgoing[recipient].should_ask(self.now_sec):
            host.outgoing[recipient].on_asked(self.now_sec)
            self.tell(sender, recipient, self.ask(sender, recipient))

    def check_now(self) -> None:
        """Checks what holds at any time.

        Raises:
            Violation: a message was doubled, or has two fates, or its sender was told more than is true.
        """
        for host in self.hosts.values():
            for peer, messages in host.db.mailbox.items():
                tokens = Counter(message.token for message in messages)
                doubled = [token for token, times in tokens.items() if times > 1]
                if doubled:
                    raise Violation(f"doubled at {host.name}: {doubled}")
                self._check_order(peer, host.name, list(tokens))
        for token, sender, recipient in self.accepted:
            self._check_fate(token, sender, recipient)

    def _check_order(self, sender: str, recipient: str, tokens: list[str]) -> None:
        expected = [
            token for token, *pair in self.accepted if pair == [sender, recipient] and token not in self.excused
        ]
        arrived = [token for token in tokens if token not in self.excused]
        if arrived != [token for token in expected if token in arrived]:
            raise Violation(f"out of order from {sender} to {recipient}: {arrived}")

    def _check_fate(self, token: str, sender: str, recipient: str) -> None:
        messages = self.hosts[sender].db.outbox.get(recipient, {})
        state = next((message.state for message in messages.values() if message.token == token), 0)
        arrived = {message.token: message.state for message in self.hosts[recipient].db.mailbox.get(sender, [])}
        if state == EXPIRED and token in arrived:
            raise Violation(f"{token} expired at {sender}, and is in a mailbox of {recipient}")
        if FILED <= state < EXPIRED and token not in arrived and token not in self.excused:
            raise Violation(f"{sender} believes that {token} is filed; {recipient} does not have it")

    def check_at_rest(self) -> None:
        """Checks what holds when everything has come to rest.

        Raises:
            Violation: a message was lost, or its sender does not know its state.
        """
        self.check_now()
        for token, sender, recipient in self.accepted:
            if token in self.excused:
                continue
            left = {message.token: message.state for message in self.hosts[sender].db.outbox[recipient].values()}
            arrived = {message.token: message.state for message in self.hosts[recipient].db.mailbox.get(sender, [])}
            if token not in arrived and left[token] != EXPIRED:
                raise Violation(f"{token} from {sender} to {recipient} was lost")
            is_exact = not self.restored & {sender, recipient}
            if is_exact and token in arrived and left[token] < arrived[token]:
                raise Violation(f"{sender} believes that {token} is in state {left[token]}, not {arrived[token]}")
