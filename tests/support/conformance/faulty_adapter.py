"""An adapter with a planted fault: it stands between the driver and the adapter for grpcio, and changes lines.

Arguments: the name of the fault, then the command of the real adapter. FAULTS has them all.
"""

import json
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable
from typing import Any

Line = dict[str, Any]
Change = Callable[[Line], list[Line]]  # the lines that take the place of one
held: list[Line] = []
messages = 0


def is_message(line: Line) -> bool:
    return "message" in line.get("event", {})


def third_message(line: Line) -> bool:
    global messages
    messages += is_message(line)
    return is_message(line) and messages == 3


def drop_event(line: Line) -> list[Line]:
    return [] if third_message(line) else [line]


def repeat_event(line: Line) -> list[Line]:
    return [line, line] if third_message(line) else [line]


def swap_events(line: Line) -> list[Line]:
    if third_message(line):
        held.append(line)
        return []
    return [line, held.pop()] if held and is_message(line) else [line]


def forget_place(line: Line) -> list[Line]:
    line.get("request", {}).pop("afterId", None)
    return [line]


def hide_reason(line: Line) -> list[Line]:
    for key in ("error", "end"):
        line.get(key, {}).pop("reason", None)
        line.get(key, {}).setdefault("reason", "")
    return [line]


def hide_field(line: Line) -> list[Line]:
    line.get("error", {}).pop("field", None)
    return [line]


def hide_delay(line: Line) -> list[Line]:
    if "retry_ms" in line.get("error", {}):
        line["error"]["retry_ms"] = 0
    return [line]


def drop_key(line: Line) -> list[Line]:
    line.get("request", {}).pop("idempotencyKey", None)
    return [line]


def drop_token(line: Line) -> list[Line]:
    line.pop("token", None)
    return [line]


def drop_timeout(line: Line) -> list[Line]:
    if line["op"] == "stream":
        line.pop("timeout_ms", None)
    return [line]


def ignore_cancel(line: Line) -> list[Line]:
    return [] if line["op"] == "cancel" else [line]


def normalize_text(line: Line) -> list[Line]:
    request = line.get("request", {})
    if "content" in request:
        request["content"] = unicodedata.normalize("NFC", request["content"])
    return [line]


def flatten_lists(line: Line) -> list[Line]:
    for message in line.get("ok", {}).get("messages", []):
        message["metadata"] = {
            key: value for key, value in message.get("metadata", {}).items() if value not in ([], {})
        }
        message["metadata"].pop("null", None)
    return [line]


def lose_result(line: Line) -> list[Line]:
    if "responses" in line:
        line["responses"][1]["results"].pop()
    return [line]


def answer_before_sending(line: Line) -> list[Line]:
    if line.get("method") != "SendMessage":
        return [line]
    message = {**line["request"], "id": "1a205a7480d00000"}
    write({"id": line["id"], "ok": {"message": message, "delivery": {"state": "DELIVERY_STATE_FILED"}}})
    return []


def nothing(line: Line) -> list[Line]:
    return [line]


FAULTS: dict[str, tuple[Change, Change]] = {  # of lines to the adapter, of lines from it
    "none": (nothing, nothing),
    "drops an event": (nothing, drop_event),
    "repeats an event": (nothing, repeat_event),
    "swaps two events": (nothing, swap_events),
    "forgets its place": (forget_place, nothing),
    "hides the reason": (nothing, hide_reason),
    "hides the field": (nothing, hide_field),
    "hides the delay": (nothing, hide_delay),
    "sends no key": (drop_key, nothing),
    "sends no token": (drop_token, nothing),
    "sets no deadline": (drop_timeout, nothing),
    "does not cancel": (ignore_cancel, nothing),
    "normalizes text": (normalize_text, nothing),
    "loses empty lists": (nothing, flatten_lists),
    "loses a result": (nothing, lose_result),
    "answers before it sends": (answer_before_sending, nothing),
}
output = threading.Lock()


def write(line: Line) -> None:
    """Writes one line to the driver."""
    with output:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def main(fault: str, *command: str) -> None:
    """Passes lines on until the driver ends."""
    to_adapter, from_adapter = FAULTS[fault]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as adapter:
        assert adapter.stdin is not None
        assert adapter.stdout is not None
        lines = adapter.stdout

        def read() -> None:
            for text in lines:
                for line in from_adapter(json.loads(text)):
                    write(line)

        reader = threading.Thread(target=read)
        reader.start()
        for text in sys.stdin:
            for line in to_adapter(json.loads(text)):
                adapter.stdin.write(json.dumps(line) + "\n")
                adapter.stdin.flush()
        adapter.stdin.close()
        reader.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
