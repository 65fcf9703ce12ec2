"""HookEvent — the event that Claude Code gives a hook on standard input.

Source of the format: Claude Code's hooks reference (`session_id`, `hook_event_name`, `source`, `stop_hook_active`,
`tool_name`, `tool_input`, `tool_response`; `agent_id` only inside a subagent). All other keys are ignored.
Invariant: session and agent are valid mailbox names, so they can become parts of a path.
"""

__all__ = [
    "DOORBELL",
    "POST_TOOL_USE",
    "SESSION_START",
    "STOP",
    "USER_PROMPT_SUBMIT",
    "EventError",
    "HookEvent",
    "read_event",
]

import json

from mailroom.inbox_directory import is_mailbox_name

SESSION_START, USER_PROMPT_SUBMIT, POST_TOOL_USE, STOP = "SessionStart", "UserPromptSubmit", "PostToolUse", "Stop"
DOORBELL = "Doorbell"  # not Claude Code's: mail arrived while the session was idle

_TOOLS_WITH_MAIL = ("__check_inbox", "__wait_for_message")  # mcp__SERVER__TOOL
_COMMAND_WITH_MAIL = "mailroom inbox"


class EventError(Exception):
    """Standard input is not an event."""


class HookEvent:
    """One event.

    Attributes:
        name: "SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", or one that the hook ignores.
        session: the session's id; the agent's name if the input has none.
        agent: whose mail is shown.
        starts_afresh: the model has lost what it was shown: its context was compacted or cleared.
        stop_hook_active: a hook has already prevented the stop before this one.
        in_subagent: output would reach a subagent instead of the session.
        tool_output: what a tool that shows mail has just shown; empty after other tools.
    """

    __slots__ = ("agent", "in_subagent", "name", "session", "starts_afresh", "stop_hook_active", "tool_output")

    def __init__(self, name: str, session: str, agent: str) -> None:
        self.name = name
        self.session = session
        self.agent = agent
        self.starts_afresh = False
        self.stop_hook_active = False
        self.in_subagent = False
        self.tool_output = b""

    @property
    def mailboxes(self) -> tuple[str, ...]:
        """The agent's mailbox and the session's: senders may use either name."""
        return (self.agent,) if self.agent == self.session else (self.agent, self.session)


def read_event(raw: bytes, agent: str | None) -> HookEvent:
    """Reads one event.

    Args:
        raw: all of standard input.
        agent: whose mail, if it is not the session's own.

    Raises:
        EventError: this is not an event, or it has no valid session id.
    """
    fields = _read_object(raw)
    session = fields.get("session_id") or agent
    if not isinstance(session, str) or not is_mailbox_name(session):
        raise EventError(f"session_id {session!r:.80} is not a valid session name")
    event = HookEvent(str(fields.get("hook_event_name")), session, agent or session)
    event.starts_afresh = event.name == SESSION_START and fields.get("source") in ("clear", "compact")
    event.stop_hook_active = bool(fields.get("stop_hook_active"))
    event.in_subagent = bool(fields.get("agent_id"))
    event.tool_output = raw if _shows_mail(fields) else b""
    return event


def _shows_mail(fields: dict[str, object]) -> bool:
    """Returns whether the tool that was used is one that shows mail, or the command line showing it."""
    tool = str(fields.get("tool_name"))
    return tool.endswith(_TOOLS_WITH_MAIL) or (tool == "Bash" and _COMMAND_WITH_MAIL in str(fields.get("tool_input")))


def _read_object(raw: bytes) -> dict[str, object]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise EventError(f"standard input is not JSON ({error})") from error
    if not _is_object(value):
        raise EventError("standard input is not a JSON object")
    return value


def _is_object(value: object) -> bool:  # a function, because narrowing the type would need `typing`: milliseconds
    return isinstance(value, dict)
