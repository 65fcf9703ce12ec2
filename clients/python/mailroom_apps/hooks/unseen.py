"""Unseen — which unread messages an event may show, given what its session has been shown.

Pure. A tool call and an idle session are interrupted only by new mail. Messages that did not fit and were only counted
wait for the next prompt, so that a full mailbox does not flood every step. A stop looks for urgent messages, and
each holds a session up once. Whether a message is urgent is in its file (`delivery` reads it).
"""

__all__ = ["find_unseen"]

from mailroom_apps.hooks.event import DOORBELL, POST_TOOL_USE, SESSION_START, STOP, USER_PROMPT_SUBMIT, HookEvent
from mailroom_apps.hooks.session_state import SessionState


def find_unseen(event: HookEvent, unread: dict[str, str], state: SessionState) -> list[str]:
    """Returns the ids of the messages that this event may show, newest first."""
    if event.in_subagent:
        return []
    if event.name == STOP:
        known = state.held
    elif event.name in (POST_TOOL_USE, DOORBELL):
        known = state.shown | state.counted
    elif event.name in (SESSION_START, USER_PROMPT_SUBMIT):
        known = set[str]() if event.starts_afresh else state.shown
    else:
        return []
    return sorted(unread.keys() - known, reverse=True)
