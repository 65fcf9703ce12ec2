"""A team inbox that another program keeps locked gets every message in the end, without a restart."""

import json
import os
import time

from mailroomd.storage.team_inbox.filing import INBOX_MESSAGES
from support.harness.deployment import running_deployment
from support.harness.waiting import wait_until


def test_team_messages_beyond_the_backlog_are_filed_when_the_lock_is_free() -> None:
    with running_deployment() as deployment:
        inbox = deployment.root / "teams/alpha/inboxes/vic.json"
        lock = inbox.with_name("vic.json.lock")
        lock.mkdir(parents=True)
        later_sec = time.time() + 3600
        os.utime(lock, (later_sec, later_sec))  # its holder renews it
        ids = deployment.fill("vic@alpha", INBOX_MESSAGES + 450)
        reasons = {deployment.get(ids[number]).delivery.team_inbox_error for number in (0, -1)}
        assert any("when there is room" in reason for reason in reasons)
        lock.rmdir()
        wait_until(
            lambda: inbox.exists() and len(json.loads(inbox.read_bytes())) == len(ids),
            "all entries are there",
            60,  # the retries have backed off to 16 s or more by then
        )
        assert [entry["mailroom_id"] for entry in json.loads(inbox.read_bytes())] == ids, "once each, in order"
        wait_until(lambda: not deployment.get(ids[-1]).delivery.team_inbox_error, "the last one is recorded")
        assert all(worker.restarts == 0 for worker in deployment.status().workers), deployment.log()


def test_a_sender_that_fills_its_half_of_a_team_inbox_stops_only_itself_for_a_while() -> None:
    with running_deployment() as deployment:
        inbox = deployment.root / "teams/alpha/inboxes/vic.json"
        inbox.parent.mkdir(parents=True)
        inbox.write_text(json.dumps([{"from": "eve", "text": "x" * (1 << 20)}] * 32))
        late = deployment.send("vic@alpha", "late", sender="eve").message.id
        urgent = deployment.send("vic@alpha", "urgent", sender="boss").message.id
        wait_until(
            lambda: "inbox is full" in deployment.get(late).delivery.team_inbox_error, "the flood's sender has no room"
        )
        wait_until(lambda: not deployment.get(urgent).delivery.team_inbox_error, "another one has")
        inbox.write_text("[]")  # as its agent does when it has taken everything
        wait_until(lambda: b"late" in inbox.read_bytes(), "the late entry is there, without a restart")
        wait_until(lambda: not deployment.get(late).delivery.team_inbox_error, "that is recorded")
        assert [entry["text"].split("\n")[0] for entry in json.loads(inbox.read_bytes())] == ["late"]
