"""Faults of what the hub holds: its stream is emptied or deleted, consumers go or skip mail, a batch is foreign."""

__all__ = ["FAULTS"]

import json
from pathlib import Path
from typing import Any

from support.harness.waiting import pause, wait_until
from support.hosts.broker import NATS_SERVER
from support.hosts.faults.stage import Fault, Stage
from support.hosts.wide_bed import SERVERS

FOREIGN_VERSION = b"\x63what a later version would send"
FOREIGN = "batch of a newer version waits"
NOTICED_SEC = 30.0


def _stream(stage: Stage) -> str:
    return f"MAIL_{stage.bed.hub.shard}"


def _ask(stage: Stage, subject: str, body: object = None) -> dict[str, Any]:
    return stage.bed.ask_hub(f"$JS.API.{subject}", b"" if body is None else json.dumps(body).encode())


def _succeed(stage: Stage, subject: str, body: object = None) -> None:
    """Has the hub do something; a relay may be making the object anew just now, so that it is missing."""
    wait_until(lambda: "error" not in _ask(stage, subject, body), f"the hub does {subject}", NOTICED_SEC, step_sec=0.2)


def _stream_purged(stage: Stage) -> None:
    _succeed(stage, f"STREAM.PURGE.{_stream(stage)}")


def _stream_recreated(stage: Stage) -> None:
    _succeed(stage, f"STREAM.DELETE.{_stream(stage)}")
    wait_until(stage.bed.mail_stream, "a host has made the stream again", NOTICED_SEC, step_sec=0.2)


def _consumer_deleted(stage: Stage) -> None:
    _succeed(stage, f"CONSUMER.DELETE.{_stream(stage)}.{stage.host()}")


def _consumer_skips_mail(stage: Stage) -> None:
    """It is moved behind everything that the stream holds, as power cuts of a server have done."""
    last = wait_until(stage.bed.mail_stream, "there is a stream", NOTICED_SEC, step_sec=0.2)["last_seq"]
    _succeed(stage, f"CONSUMER.RESET.{_stream(stage)}.{stage.host()}", {"seq": last + 1})


def _foreign_batch(stage: Stage) -> None:
    """A batch of a version that no daemon here knows; mail behind it goes on. It is taken away in the end."""
    source, to = stage.chance.sample(sorted(stage.bed.hosts), 2)
    daemon = stage.bed.hosts[to].daemon
    before = daemon.log().count(FOREIGN)
    answer = stage.bed.ask_hub(f"mail.{stage.bed.hub.shard}.{to}.{source}", FOREIGN_VERSION)
    assert "seq" in answer, answer
    wait_until(lambda: daemon.log().count(FOREIGN) > before, f"{to} says that it does not know it", NOTICED_SEC)
    stage.traffic.wait_progress()
    wait_until(lambda: _take_away(stage, answer["seq"]), "the hub has deleted it", NOTICED_SEC, step_sec=0.2)


def _take_away(stage: Stage, number: int) -> bool:
    """Has the hub delete a message, if it is there; returns whether it was gone.

    A server does not answer a request to delete a message that it does not have (nats-io/nats-server#7308).
    """
    message = {"seq": number}
    if "error" in _ask(stage, f"STREAM.MSG.GET.{_stream(stage)}", message):
        return True
    stage.bed.try_to_ask_hub(f"$JS.API.STREAM.MSG.DELETE.{_stream(stage)}", json.dumps(message).encode())
    return False


def _servers_upgraded(stage: Stage) -> None:
    """One after the other is stopped, and goes on as the newest version; those that are new are only restarted."""
    for name in SERVERS:
        broker = stage.bed.brokers[name]
        broker.stop()
        broker.program = NATS_SERVER
        pause(0.2)
        broker.start()


def old_server() -> Path | None:
    """Returns the program of the older server, if `make hosts` has installed it."""
    path = Path(NATS_SERVER).parents[1] / "nats-server-old" / "bin" / "nats-server"
    return path if path.exists() else None


FAULTS: dict[str, Fault] = {
    "the stream of mail is emptied": _stream_purged,
    "the stream of mail is deleted": _stream_recreated,
    "a consumer is deleted": _consumer_deleted,
    "a consumer skips mail": _consumer_skips_mail,
    "a batch of an unknown version arrives": _foreign_batch,
    "the servers are upgraded one by one": _servers_upgraded,
}
