"""HookEvent — the event that Claude Code gives a hook on standard input.

Source of the format: Claude Code's hooks reference (`session_id`, `hook_event_name`, `source`, `stop_hook_active`,
`tool_name`, `tool_input`, `tool_response`; `agent_id` only inside a subagent). All other keys are ignored.
Invariant: agent and state key are valid names, so they can become parts of a path. A session's id can be any text; only
one that is a valid name can have a mailbox.
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

TYPE_CHECKING = False  # `typing` takes milliseconds to import
if TYPE_CHECKING:
    from typing import Any

SESSION_START, USER_PROMPT_SUBMIT, POST_TOOL_USE, STOP = "SessionStart", "UserPromptSubmit", "PostToolUse", "Stop"
DOORBELL = "Doorbell"  # not Claude Code's: mail arrived while the session was idle

_TOOLS_WITH_MAIL = ("__check_inbox", "__wait_for_message")  # mcp__SERVER__TOOL
_COMMAND_WITH_MAIL = "mailroom inbox"
_SHELL_SYNTAX = frozenset("|&;<>()$`\n")  # the output of any other command may be what a sender wrote


class EventError(Exception):
    """Standard input is not an event."""


class HookEvent:
    """One event.

    Attributes:
        name: "SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", or one that the hook ignores.
        session: the session's id; the agent's name if the input has none.
        state_key: the name of the session's files.
        agent: whose mail is shown.
        starts_afresh: the model has lost what it was shown: its context was compacted or cleared.
        stop_hook_active: a hook has already prevented the stop before this one.
        in_subagent: output would reach a subagent instead of the session.
        tool_response: the result of a tool that has just shown the session its mail; None after other tools.
    """

    __slots__ = (
        "agent",
        "in_subagent",
        "name",
        "session",
        "starts_afresh",
        "state_key",
        "stop_hook_active",
        "tool_response",
    )

    def __init__(self, name: str, session: str, agent: str) -> None:
        self.name = name
        self.session = session
        self.state_key = session if is_mailbox_name(session) else _hash(session)
        self.agent = agent
        self.starts_afresh = False
        self.stop_hook_active = False
        self.in_subagent = False
        self.tool_response: object = None

    @property
    def mailboxes(self) -> tuple[str, ...]:
        """The agent's mailbox and the session's, if it can have one: senders may use either name."""
        return (self.agent, self.session) if self.has_own_mailbox else (self.agent,)

    @property
    def has_own_mailbox(self) -> bool:
        """Whether the session's id is a mailbox name besides the agent's."""
        return self.session not in (self.agent, "") and self.state_key == self.session


def _hash(session: str) -> str:
    from hashlib import sha256  # slow to import, and seldom needed

    return f"session-{sha256(session.encode(errors='surrogatepass')).hexdigest()[:32]}"


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
    if not isinstance(session, str) or not (agent or is_mailbox_name(session)):
        raise EventError(f"session_id {session!r:.80} is not a valid session name: give the hook an agent with --agent")
    event = HookEvent(str(fields.get("hook_event_name")), session, agent or session)
    event.starts_afresh = event.name == SESSION_START and fields.get("source") in ("clear", "compact")
    event.stop_hook_active = bool(fields.get("stop_hook_active"))
    event.in_subagent = bool(fields.get("agent_id"))
    event.tool_response = fields.get("tool_response") if not event.in_subagent and _shows_mail(fields) else None
    return event


def _shows_mail(fields: dict[str, object]) -> bool:
    """Returns whether the tool is one of ours that shows mail, or the shell that ran only `mailroom inbox`."""
    tool, arguments = str(fields.get("tool_name")), fields.get("tool_input")
    command = str(_object_or_empty(arguments).get("command"))
    runs_inbox = _COMMAND_WITH_MAIL in command and _SHELL_SYNTAX.isdisjoint(command)
    return tool.endswith(_TOOLS_WITH_MAIL) or (tool == "Bash" and runs_inbox)


def _read_object(raw: bytes) -> dict[str, object]:
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise EventError(f"standard input is not JSON ({error})") from error
    if fields := _object_or_empty(value):
        return fields
    raise EventError("standard input is not a JSON object with fields")


def _object_or_empty(value: "Any") -> "dict[str, Any]":
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] - a cast needs `typing`
