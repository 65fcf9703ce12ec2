"""Unseen — which unread messages an event may show, given what its session has been shown, and has seen.

Pure. A tool call and an idle session are interrupted only by new mail. Messages that did not fit and were only counted
wait for the next prompt, so that a full mailbox does not flood every step. A stop looks for urgent messages, and
each holds a session up once. Whether a message is urgent is in its file (`delivery` reads it).
"""

__all__ = ["find_unseen", "settle_answer"]

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


def settle_answer(event: HookEvent, state: SessionState) -> bool:
    """Learns from an event what became of the mail that answered the end of a turn; returns whether it tells.

    The mail is submitted as a prompt. A turn that goes on with it comes to its next tool, or to its next end. Another
    prompt before that means that a person has ended the turn, so the mail has reached no model.
    """
    is_submitted = any(message_id in event.prompt for message_id in state.answered)
    if not state.answered or event.in_subagent or is_submitted or event.stop_hook_active:
        return False
    if event.name == USER_PROMPT_SUBMIT:
        state.shown -= state.answered
        state.held -= state.answered
    elif event.name not in (POST_TOOL_USE, STOP):
        return False
    state.answered.clear()
    return True
