"""The porter sleeps until its doorbell rings: this is what Claude Code does with a hook that has `asyncRewake`."""

import json
import re
import subprocess
import sys
from pathlib import Path

from desk import say

MAILROOM = str(Path(sys.executable).with_name("mailroom"))
WOKEN = 2  # the exit code by which such a hook wakes an idle session


def main() -> None:
    """Plays the porter."""
    stop = json.dumps({"session_id": "porter-session", "hook_event_name": "Stop", "stop_hook_active": False})
    say("porter", "is idle")
    doorbell = subprocess.run(
        [MAILROOM, "doorbell", "porter"], input=stop, stderr=subprocess.PIPE, text=True, check=False
    )
    if doorbell.returncode != WOKEN:
        raise SystemExit(f"the doorbell ended with {doorbell.returncode}: {doorbell.stderr}")
    found = re.search(r"^--- \w+ message (\w+) from (\S+), .*---\n(.*)$", doorbell.stderr, re.MULTILINE)
    if found is None:
        raise SystemExit(f"the doorbell brought no message: {doorbell.stderr}")
    message_id, sender, content = found.groups()
    say("porter", f"was woken by {sender}: {content}")
    subprocess.run([MAILROOM, "ack", "porter", message_id], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
