"""Session — runs `mailroom hook` and `mailroom doorbell` as Claude Code does, with directories of its own.

The events have the shape that Claude Code documents. `hook` runs in this process, because most of the time of a hook
with mail is the import of gRPC; `run` and `doorbell` start processes.
"""

__all__ = ["Session", "inbox_id"]

import io
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest import mock

from mailroom_apps.hooks import command

BOUND_SEC = 20
_counter = itertools.count(1)


def inbox_id(age_sec: float = 0.0) -> str:
    """Returns an id that the daemon could have issued `age_sec` ago; later calls return higher ids."""
    return f"{(int((time.time() - age_sec) * 1000) << 20) + next(_counter):016x}"


@dataclass
class Session:
    """One session of Claude Code, as its hooks see it.

    Attributes:
        directory: holds the root with the inboxes, and the state.
        id: the session's id, and the agent's name if `agent` is not given.
        agent: its name, passed to the hooks.
        address: where the daemon is; None: there is no daemon.
    """

    directory: Path
    id: str = "5d8c1d9e-58a7-4b1f-9a10-0f2b7c1c1e11"
    agent: str | None = None
    address: str | None = None
    extra: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def root(self) -> Path:
        """Where inbox/ is."""
        return self.directory / "root"

    @property
    def state_file(self) -> Path:
        """Where the hooks keep what the session has been shown."""
        return self.directory / "xdg" / "mailroom-sessions" / f"{self.id}.json"

    def environment(self) -> dict[str, str]:
        """Returns the environment of its hooks."""
        base = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_", "CLAUDE"))
        }
        return base | {
            "HOME": str(self.directory),
            "XDG_STATE_HOME": str(self.directory / "xdg"),
            "MAILROOM_ROOT": str(self.root),
            "MAILROOM_ADDRESS": self.address or f"unix:{self.directory}/none.sock",
            **self.extra,
        }

    def command(self, name: str, *arguments: str) -> list[str]:
        """Returns the command line of a hook."""
        agent = ("--agent", self.agent) if self.agent else ()
        return [sys.executable, "-m", "mailroom_apps", name, *agent, *arguments]

    def deliver(
        self, content: str, mailbox: str | None = None, sender: str = "alice", age_sec: float = 0.0, **fields: Any
    ) -> str:
        """Puts a message into an inbox directory, in the daemon's format; returns its id."""
        message_id = inbox_id(age_sec)
        body: dict[str, Any] = {"type": "message", "id": message_id, "from": sender, "session_id": self.id}
        sent = datetime.fromtimestamp(time.time() - age_sec, UTC).isoformat(timespec="milliseconds")
        body |= {"timestamp": sent.replace("+00:00", "Z"), "message_type": "text", "content": content, "metadata": {}}
        self.put(message_id, json.dumps(body | fields).encode(), mailbox)
        return message_id

    def put(self, message_id: str, raw: bytes, mailbox: str | None = None) -> Path:
        """Puts a file into an inbox directory."""
        inbox = self.root / "inbox" / (mailbox or self.agent or self.id)
        inbox.mkdir(parents=True, exist_ok=True)
        path = inbox / f"{message_id}.json"
        path.write_bytes(raw)
        return path

    def event(self, name: str, **fields: object) -> bytes:
        """Returns an event."""
        common = {"session_id": self.id, "transcript_path": "/x.jsonl", "cwd": "/", "permission_mode": "default"}
        own: Mapping[str, object] = {
            "SessionStart": {"source": "startup", "model": "m"},
            "UserPromptSubmit": {"prompt": "Go on"},
            "PostToolUse": {
                "tool_name": "Write",
                "tool_input": {"file_path": "/f", "content": "x"},
                "tool_response": {"filePath": "/f", "success": True},
                "tool_use_id": "toolu_01ABC123",
            },
            "PostToolBatch": {
                "tool_calls": [{"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_response": "a"}]
            },
            "BeforeAgent": {"prompt": "Go on"},
            "AfterTool": {"tool_name": "ls", "tool_input": {}, "tool_response": {"llmContent": "a"}},
            "Stop": {"stop_hook_active": False, "last_assistant_message": "Done."},
        }.get(name, {})
        return json.dumps({**common, "hook_event_name": name, **own, **fields}).encode()

    def run(self, stdin: bytes, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        """Runs the hook with any input; there must be no traceback."""
        done = subprocess.run(
            self.command("hook", *arguments),
            env=self.environment(),
            input=stdin,
            capture_output=True,
            timeout=BOUND_SEC,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    def hook(self, name: str, *, dialect: str | None = None, **fields: Any) -> str:
        """Runs the hook on an event; returns the text for the model, "" for none."""
        arguments = ("--dialect", dialect) if dialect else ()
        stdin, stdout = io.TextIOWrapper(io.BytesIO(self.event(name, **fields))), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment(), clear=True),
            mock.patch.object(sys, "stdin", stdin),
            mock.patch.object(command, "id_at_start", inbox_id),  # this process is older than the mail
            redirect_stdout(stdout),
        ):
            assert command.main(self.command("hook", *arguments)[4:]) == 0
        if not stdout.getvalue():
            return ""
        answer = cast("dict[str, Any]", json.loads(stdout.getvalue()))
        if "decision" in answer:
            assert answer["decision"] == "block"
            assert name in ("Stop", "AfterAgent")
            return answer["reason"]
        assert answer["hookSpecificOutput"]["hookEventName"] == name
        return answer["hookSpecificOutput"]["additionalContext"]

    def doorbell(self, *arguments: str, stdin: bytes | None = None, **extra: str) -> "subprocess.Popen[bytes]":
        """Starts a doorbell; by default as the hook of a stop. `extra` goes into its environment."""
        process = subprocess.Popen(
            self.command("doorbell", *arguments),
            env=self.environment() | extra,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(self.event("Stop") if stdin is None else stdin)
        process.stdin.close()
        process.stdin = None
        return process
