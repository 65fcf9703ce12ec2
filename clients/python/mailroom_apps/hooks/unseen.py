"""News — which unread messages an event is to show, by what its session knows already.

Pure. A tool call and a waiting session are interrupted by what is new only; what did not fit and was merely counted has
its turn with the next prompt, so that a full mailbox does not flood each step. A stop is about urgent messages, each of
which holds a session up once; whether they are urgent is in their files (`letters`).
"""

__all__ = ["find_news"]

from mailroom_apps.hooks.event import DOORBELL, POST_TOOL_USE, SESSION_START, STOP, USER_PROMPT_SUBMIT, HookEvent
from mailroom_apps.hooks.inbox import Unread
from mailroom_apps.hooks.memory import Memory


def find_news(event: HookEvent, unread: Unread, memory: Memory) -> list[str]:
    """Returns the ids of what this event may show, newest first."""
    if event.in_subagent or (event.name == STOP and event.stop_hook_active):
        return []
    if event.name == STOP:
        known = memory.held
    elif event.name in (POST_TOOL_USE, DOORBELL):
        known = memory.shown | memory.counted
    elif event.name in (SESSION_START, USER_PROMPT_SUBMIT):
        known = set[str]() if event.starts_afresh else memory.shown
    else:
        return []
    return sorted(unread.keys() - known, reverse=True)
