"""The porter is idle until its doorbell rings, as a Claude Code session with an `asyncRewake` hook is."""

import json
import re
import subprocess
import sys
from pathlib import Path

from agent_tools import say

MAILROOM = str(Path(sys.executable).with_name("mailroom"))
WAKES_SESSION = 2  # the exit code with which such a hook wakes an idle session


# --- MARK message ID from SENDER (unverified), AGE ---, then any metadata, then the content
REPORT = re.compile(r"^--- \w+ message (\w+) from (\S+)(?: \(unverified\))?, .*---\n(?:\{.*\}\n)?(.*)$", re.MULTILINE)


def main() -> None:
    """Runs the porter."""
    stop = json.dumps({"session_id": "porter-session", "hook_event_name": "Stop", "stop_hook_active": False})
    say("porter", "is idle")
    doorbell = subprocess.run(
        [MAILROOM, "doorbell", "porter"], input=stop, stderr=subprocess.PIPE, text=True, check=False
    )
    if doorbell.returncode != WAKES_SESSION:
        raise SystemExit(f"the doorbell exited with {doorbell.returncode}: {doorbell.stderr}")
    report = re.search(
        r"^--- \w+ message (\w+) from (\S+)(?: \(unverified\))?, .*---\n(?:\{.*\}\n)?(.*)$",
        doorbell.stderr,
        re.MULTILINE,
    )
    if report is None:
        raise SystemExit(f"the doorbell reported no message: {doorbell.stderr}")
    message_id, sender, content = report.groups()
    say("porter", f"was woken by {sender}: {content}")
    subprocess.run([MAILROOM, "ack", "porter", message_id], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
