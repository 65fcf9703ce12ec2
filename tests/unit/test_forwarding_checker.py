"""The checker of mail between hosts finds each kind of violation: every one of these hosts has one fault."""

from collections.abc import Callable

import pytest
from mailroomd.core.forwarding.outgoing import Batch, Report
from mailroomd.core.forwarding.position import Position, Verdict
from support.forwarding.model_host import Envelope, Item, ModelHost
from support.forwarding.model_world import ModelWorld, Violation


class TrustsTheHub(ModelHost):
    """Forgets what the hub has accepted."""

    def on_published(self, peer: str, batch: Batch, envelope: Envelope, now_sec: float) -> None:
        super().on_published(peer, batch, envelope, now_sec)
        self.db.queue[peer] = [item for item in self.db.queue[peer] if item not in envelope.items]


class StoresAgain(ModelHost):
    """Does not recognize what it has."""

    def judge(self, peer: str, after: Position, position: Position) -> Verdict:
        verdict = super().judge(peer, after, position)
        return Verdict.NEXT if verdict is Verdict.REPEATED else verdict


class IgnoresGaps(ModelHost):
    """Stores what comes after a gap."""

    def judge(self, peer: str, after: Position, position: Position) -> Verdict:
        verdict = super().judge(peer, after, position)
        return Verdict.NEXT if verdict is Verdict.GAP else verdict


class CommitsThePositionFirst(ModelHost):
    """Loses power between the position and the message."""

    has_failed = False

    def store(self, peer: str, item: Item) -> None:
        if not self.has_failed:
            self.has_failed = True
            self.db.stored.setdefault(peer, {})[item.position.run] = item.position.id
            self.commit()
        else:
            super().store(peer, item)


class KeepsItsRun(ModelHost):
    """Has one run forever, as if ids were never used twice."""

    def start(self) -> None:
        super().start()
        self.run = 1


class ExpiresWhatHasLeft(ModelHost):
    """Lets anything expire that waits."""

    def may_expire(self, peer: str, item: Item) -> bool:
        return True


class TrustsIds(ModelHost):
    """Takes a receipt for the message that has its id now."""

    def apply_receipt(self, peer: str, item: Item) -> None:
        message = self.db.outbox.get(peer, {}).get(item.origin.id)
        if message is not None:
            message.state = max(message.state, item.state)


class NeverRepeats(ModelHost):
    """Publishes each item once."""

    def on_report(self, peer: str, report: Report, now_sec: float) -> None:
        super().on_report(peer, report._replace(misses=False, is_idle=False), now_sec)


Scene = Callable[[ModelWorld], None]


def lose_an_accepted_batch(world: ModelWorld) -> None:
    world.send("a", "b")
    world.publish("a", "b", copies=0)


def repeat_a_batch(world: ModelWorld) -> None:
    world.send("a", "b")
    world.publish("a", "b", copies=2)
    world.deliver("b")
    world.deliver("b")


def reorder_batches(world: ModelWorld) -> None:
    for _ in range(2):
        world.send("a", "b")
        world.publish("a", "b")
    world.deliver("b", 1)
    world.deliver("b", 0)


def crash_while_storing(world: ModelWorld) -> None:
    world.send("a", "b")
    world.publish("a", "b")
    world.deliver("b", stays=True)
    world.lose_power("b")


def restore_and_set_the_clock_back(world: ModelWorld) -> None:
    backup = world.hosts["a"].backup()
    world.send("a", "b")
    world.publish("a", "b")
    world.deliver("b")
    world.restore("a", backup)
    world.send("a", "b")


def expire_on_the_way(world: ModelWorld) -> None:
    world.send("a", "b")
    world.publish("a", "b")
    world.expire("a", "b")
    world.deliver("b")


def receive_a_receipt_of_a_lost_history(world: ModelWorld) -> None:
    restore_and_set_the_clock_back(world)
    world.publish("b", "a")
    world.deliver("a")


SCENES: dict[type[ModelHost], tuple[Scene, str]] = {
    TrustsTheHub: (lose_an_accepted_batch, "was lost"),
    StoresAgain: (repeat_a_batch, "doubled"),
    IgnoresGaps: (reorder_batches, "out of order|was lost"),
    CommitsThePositionFirst: (crash_while_storing, "was lost"),
    KeepsItsRun: (restore_and_set_the_clock_back, "believes that t2 is filed|was lost"),
    ExpiresWhatHasLeft: (expire_on_the_way, "expired at a, and is in a mailbox"),
    TrustsIds: (receive_a_receipt_of_a_lost_history, "believes that t2 is filed"),
    NeverRepeats: (lose_an_accepted_batch, "not at rest"),
}


def play(host_type: type[ModelHost], scene: Scene) -> None:
    world = ModelWorld(["a", "b"], host_type)
    scene(world)
    world.come_to_rest()
    world.check_at_rest()


@pytest.mark.parametrize("host_type", SCENES, ids=lambda host_type: host_type.__name__)
def test_a_fault_is_found(host_type: type[ModelHost]) -> None:
    scene, complaint = SCENES[host_type]
    with pytest.raises(Violation, match=complaint):
        play(host_type, scene)


@pytest.mark.parametrize("scene", [scene for scene, _ in SCENES.values()], ids=lambda scene: scene.__name__)
def test_a_sound_host_passes(scene: Scene) -> None:
    play(ModelHost, scene)
