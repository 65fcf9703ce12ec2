"""With --trace, a send is one trace across all processes, below the client's own span."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.daemon import Daemon, short_directory

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def spans() -> Generator[list[dict[str, Any]]]:
    """The spans of two sends: one with the client's trace, one without."""
    with short_directory() as directory:
        file = directory / "spans.jsonl"
        daemon = Daemon(directory, ("--trace", f"file:{file}"))
        try:
            daemon.start()
            with grpc.insecure_channel(daemon.address) as opened:
                channel: Any = opened
                send = channel.unary_unary("/mailroom.v1.MailboxService/SendMessage")
                request = pb.SendMessageRequest(recipient="bob", sender="ana", content="hi").SerializeToString()
                send(request, timeout=20, metadata=(("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"),))
                send(request, timeout=20)
            assert daemon.stop() == 0
            yield _spans_in(file)
        finally:
            daemon.kill_everything()


def _spans_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_send_is_one_trace_from_client_to_announcement(spans: list[dict[str, Any]]) -> None:
    mine = {span["name"]: span for span in spans if span["context"]["trace_id"] == f"0x{TRACE_ID}"}
    assert set(mine) == {"gateway", "mailbox", "commit", "file", "announce"}
    parents = {name: span["parent_id"] for name, span in mine.items()}
    ids = {name: span["context"]["span_id"] for name, span in mine.items()}
    assert parents["gateway"] == f"0x{SPAN_ID}"
    assert parents["mailbox"] == ids["gateway"]
    assert parents["commit"] == parents["file"] == parents["announce"] == ids["mailbox"]


def test_each_span_names_its_process_and_its_message(spans: list[dict[str, Any]]) -> None:
    where = {span["name"]: span["resource"]["attributes"]["service.instance.id"] for span in spans}
    assert where == {
        "gateway": "gateway",
        "mailbox": "mailbox",
        "commit": "command-queue",
        "file": "command-queue",
        "announce": "mailbox",
    }
    messages = {span["attributes"]["message_id"] for span in spans if span["name"] != "gateway"}
    assert len(messages) == 2


def test_the_stages_follow_each_other_within_the_send(spans: list[dict[str, Any]]) -> None:
    mine = {span["name"]: span for span in spans if span["context"]["trace_id"] == f"0x{TRACE_ID}"}
    starts = [mine[name]["start_time"] for name in ("gateway", "mailbox", "commit", "file", "announce")]
    assert starts == sorted(starts)
    assert mine["file"]["end_time"] <= mine["gateway"]["end_time"], "the sender is answered when the file is there"


def test_a_send_without_a_trace_starts_one(spans: list[dict[str, Any]]) -> None:
    own = [span for span in spans if span["context"]["trace_id"] != f"0x{TRACE_ID}"]
    assert sorted(span["name"] for span in own) == ["announce", "commit", "file", "gateway", "mailbox"]
    assert len({span["context"]["trace_id"] for span in own}) == 1
    assert [span["parent_id"] for span in own if span["name"] == "gateway"] == [None]
