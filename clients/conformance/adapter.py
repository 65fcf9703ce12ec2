"""Adapter — one client under test: a process that reads and writes JSON lines.

Owns the process, the numbers of its operations and the answers to each. README.md has the lines. Not here: what a
client has to answer (`scenarios`). Invariant: every wait is bounded, and ends when the process ends.
"""

__all__ = ["Adapter", "AdapterFailed", "Connection", "Refused", "Stream", "Unsupported"]

import contextlib
import itertools
import json
import queue
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

Json = dict[str, Any]
GRACE_SEC = 45.0  # beyond a call's own timeout, on a busy machine
HELLO_SEC = 120.0  # a virtual machine may start slowly
STREAM_SEC = 60.0  # for an event that has to come


class AdapterFailed(Exception):  # noqa: N818 - of the suite, not of a call
    """The adapter broke the rules of its lines, ended, or did not answer in time."""


class Unsupported(Exception):  # noqa: N818 - not a failure
    """The client has no such operation, for the reason given."""


class Refused(Exception):  # noqa: N818 - as in the errors of the daemon
    """A call that failed; `error` has code, message, reason, domain, metadata, field and retry_ms."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error.get('code')} {error.get('reason') or ''}: {str(error.get('message'))[:300]}")
        self.error = error

    @property
    def code(self) -> str:
        """The name of the gRPC code."""
        return str(self.error.get("code"))


class Adapter:
    """A process under test. Threads may share it.

    Attributes:
        reasons: of the errors that it has told.

    Args:
        command: the program and its arguments.
        environment: all its variables.
        log: a file for what it writes to stderr.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.reasons: set[str] = set()
        self._answers: dict[int, queue.SimpleQueue[Json | None]] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self._answers[0] = queue.SimpleQueue()  # the greeting
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.hello = self.answer(0, HELLO_SEC)

    def begin(self, op: str, **fields: Any) -> int:
        """Writes one line; returns its id."""
        number = next(self._ids)
        self._answers[number] = queue.SimpleQueue()
        line = json.dumps({"id": number, "op": op, **fields}, ensure_ascii=True).encode() + b"\n"
        with self._lock:
            try:
                stdin = self._process.stdin
                assert stdin is not None
                stdin.write(line)
                stdin.flush()
            except OSError as error:
                raise self._failed("does not read any more") from error
        return number

    def answer(self, number: int, timeout_sec: float) -> Json:
        """Returns the next line for an operation.

        Raises:
            AdapterFailed: there was none in time.
            Unsupported: the client has no such operation.
        """
        try:
            line = self._answers[number].get(timeout=timeout_sec)
        except queue.Empty:
            raise AdapterFailed(f"no answer within {timeout_sec:g} s") from None
        if line is None:
            self._answers[number].put(None)
            raise self._failed("ended")
        if "unsupported" in line:
            raise Unsupported(str(line["unsupported"]))
        return line

    def close(self) -> None:
        """Ends the process: its input ends, and if that does not help it is killed."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError):
            stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            for raw in stdout:
                self._dispatch(raw)
        for waiting in list(self._answers.values()):
            waiting.put(None)

    def _dispatch(self, raw: bytes) -> None:
        try:
            line = cast("Json", json.loads(raw))
            waiting = self._answers[0 if "hello" in line else line["id"]]
        except (ValueError, KeyError, TypeError):
            with self._log.open("ab") as errors:
                errors.write(b"not an answer: " + raw[:1000])
        else:
            self.reasons |= _reasons_of(line)
            waiting.put(line)

    def _failed(self, what: str) -> AdapterFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        tail = self._log.read_text(errors="replace")[-800:] if self._log.exists() else ""
        return AdapterFailed(f"the adapter {what} (exit code {self._process.poll()}): {tail}")


class Connection:
    """One connection of the client under test: what an `open` line made.

    Args:
        adapter: the client.
        name: of the connection, unique in its adapter.
        options: target, token, ca, cert, key, keepalive_ms.
    """

    def __init__(self, adapter: Adapter, name: str, options: Json) -> None:
        self._adapter = adapter
        self._name = name
        number = adapter.begin("open", name=name, **options)
        _raise_error(adapter.answer(number, GRACE_SEC))

    def call(self, method: str, request: Json | None = None, timeout_sec: float = 20.0, **more: Any) -> Json:
        """Makes a call; returns its response.

        Raises:
            Refused: it failed.
        """
        return self.result(self.begin_call(method, request, timeout_sec, **more), timeout_sec)

    def begin_call(self, method: str, request: Json | None = None, timeout_sec: float = 20.0, **more: Any) -> int:
        """Begins a call; returns its id for `result`."""
        return self._adapter.begin(
            "unary", on=self._name, method=method, request=request or {}, timeout_ms=int(timeout_sec * 1000), **more
        )

    def result(self, number: int, timeout_sec: float = 20.0) -> Json:
        """Returns the response of a call that was begun.

        Raises:
            Refused: it failed.
        """
        line = self._adapter.answer(number, timeout_sec + GRACE_SEC)
        _raise_error(line)
        if not isinstance(line.get("ok"), dict):
            raise AdapterFailed(f"neither ok nor error: {str(line)[:200]}")
        return line["ok"]

    def refusal(self, method: str, request: Json | None = None, timeout_sec: float = 20.0, **more: Any) -> Json:
        """Makes a call that has to fail; returns its error."""
        return self.refused(self.begin_call(method, request, timeout_sec, **more), timeout_sec)

    def refused(self, number: int, timeout_sec: float = 20.0) -> Json:
        """Returns the error of a call that was begun and has to fail."""
        try:
            response = self.result(number, timeout_sec)
        except Refused as refused:
            return refused.error
        raise AssertionError(f"the call was not refused, but answered {str(response)[:200]}")

    def send(self, recipient: str, content: str = "hello", *, sender: str = "tester", **fields: Any) -> Json:
        """Sends one message; returns the response."""
        return self.call("SendMessage", {"recipient": recipient, "sender": sender, "content": content, **fields})

    def bulk(self, requests: Sequence[Json], timeout_sec: float = 60.0) -> list[Json]:
        """Sends a whole SendMessages stream; returns its responses.

        Raises:
            Refused: the stream failed.
        """
        return self.bulk_result(self.begin_bulk(requests, timeout_sec), timeout_sec)

    def begin_bulk(self, requests: Sequence[Json], timeout_sec: float = 60.0) -> int:
        """Begins a SendMessages stream; returns its id for `bulk_result`."""
        return self._adapter.begin("bulk", on=self._name, requests=requests, timeout_ms=int(timeout_sec * 1000))

    def bulk_result(self, number: int, timeout_sec: float = 60.0) -> list[Json]:
        """Returns the responses of a stream that was begun.

        Raises:
            Refused: the stream failed.
        """
        line = self._adapter.answer(number, timeout_sec + GRACE_SEC)
        _raise_error(line)
        return line["responses"]

    def stream(self, request: Json, timeout_sec: float | None = None) -> "Stream":
        """Subscribes."""
        timeout = {} if timeout_sec is None else {"timeout_ms": int(timeout_sec * 1000)}
        return Stream(
            self._adapter, self._adapter.begin("stream", on=self._name, method="Subscribe", request=request, **timeout)
        )

    def live(self, agent: str, **fields: Any) -> "Stream":
        """Subscribes from now on; returns the stream once it is live."""
        stream = self.stream({"agent": agent, **fields})
        stream.until_caught_up()
        return stream

    def cancel(self, number: int) -> None:
        """Cancels a call or stream."""
        self._adapter.begin("cancel", stream=number)


class Stream:
    """One subscription of the client under test."""

    def __init__(self, adapter: Adapter, number: int) -> None:
        self._adapter = adapter
        self.number = number
        self.end: Json | None = None
        self.place = ""  # the event_id of the last event of any kind: rule 4 of docs/clients.md

    def next(self, timeout_sec: float = STREAM_SEC) -> Json | None:
        """Returns the next event, or None if the stream has ended: then `end` says how."""
        if self.end is not None:
            return None
        line = self._adapter.answer(self.number, timeout_sec)
        if "event" in line:
            self.place = line["event"].get("eventId") or self.place
            return line["event"]
        self.end = line.get("end")
        if self.end is None:
            raise AdapterFailed(f"neither event nor end: {str(line)[:200]}")
        return None

    def expect(self, timeout_sec: float = STREAM_SEC) -> Json:
        """Returns the next event; fails if the stream ends instead."""
        event = self.next(timeout_sec)
        assert event is not None, f"the stream ended with {self.end}"
        return event

    def expect_end(self, timeout_sec: float = STREAM_SEC) -> Json:
        """Returns how the stream ends; fails if an event other than GoingAway comes first."""
        while (event := self.next(timeout_sec)) is not None:
            assert "goingAway" in event, f"an event instead of the end: {str(event)[:200]}"
        assert self.end is not None
        return self.end

    def until_caught_up(self, timeout_sec: float = STREAM_SEC) -> list[Json]:
        """Returns the events before CaughtUp."""
        events: list[Json] = []
        while "caughtUp" not in (event := self.expect(timeout_sec)):
            events.append(event)
        return events

    def contents(self, count: int, timeout_sec: float = STREAM_SEC) -> list[str]:
        """Returns the contents of the next messages; passes over CaughtUp."""
        found: list[str] = []
        while len(found) < count:
            event = self.expect(timeout_sec)
            if "caughtUp" not in event:
                found.append(str(event.get("message", {}).get("content", "")))
        return found

    def assert_silent(self, seconds: float) -> None:
        """Fails if anything arrives within a time; CaughtUp may."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._adapter.answer(self.number, left)
            except AdapterFailed as error:
                if "no answer within" in str(error):
                    return
                raise
            assert "caughtUp" in line.get("event", {}), f"not silent: {str(line)[:200]}"

    def cancel(self) -> None:
        """Cancels the stream."""
        self._adapter.begin("cancel", stream=self.number)


def _raise_error(line: Json) -> None:
    if "error" in line:
        raise Refused(line["error"])


def _reasons_of(line: Json) -> set[str]:
    results = [result for response in line.get("responses") or () for result in response.get("results", ())]
    errors = [line.get("error"), line.get("end"), *(result.get("error") for result in results)]
    return {str(error["reason"]) for error in errors if error and error.get("reason")}
