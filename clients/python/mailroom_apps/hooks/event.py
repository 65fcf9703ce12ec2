"""HookEvent — the event that an agent program gives a hook on standard input.

Source of the formats: the hooks references of the programs. All share `session_id`, `hook_event_name`, `source`,
`tool_name`, `tool_input` and `tool_response`; `agent_id` is there only inside a subagent. Claude Code's PostToolBatch
has a list `tool_calls` of tools that ran side by side. Gemini has names of its own for the same occasions, and Qwen
submits an empty prompt at each step. All other keys are ignored.
Not here: how a program wants its answer (`dialect`).
Invariant: agent and state key are valid names, so they can become parts of a path. A session's id can be any text; only
one that is a valid name can have a mailbox.
"""

__all__ = [
    "DOORBELL",
    "POST_TOOL_USE",
    "SESSION_END",
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
SESSION_END = "SessionEnd"
DOORBELL = "Doorbell"  # no program's own: mail arrived while the session was idle

_OTHER_NAMES = {
    "PostToolBatch": POST_TOOL_USE,  # Claude Code, once for all tools of a step
    "BeforeAgent": USER_PROMPT_SUBMIT,  # this and the next two: Gemini
    "AfterTool": POST_TOOL_USE,
    "AfterAgent": STOP,
}
_TOOLS_WITH_MAIL = ("check_inbox", "wait_for_message")  # mcp__SERVER__TOOL, mcp_SERVER_TOOL or SERVER_TOOL
_SHELLS = ("Bash", "bash", "shell", "run_shell_command")
_COMMAND_WITH_MAIL = "mailroom inbox"
_SHELL_SYNTAX = frozenset("|&;<>()$`\n")  # the output of any other command may be what a sender wrote


class EventError(Exception):
    """Standard input is not an event."""


class HookEvent:
    """One event.

    Attributes:
        name: SESSION_START, USER_PROMPT_SUBMIT, POST_TOOL_USE, STOP, SESSION_END, or one that the hook ignores.
        given_name: what the program calls the event.
        session: the session's id; the agent's name if the input has none.
        state_key: the name of the session's files.
        agent: whose mail is shown.
        starts_afresh: the model has lost what it was shown: its context was compacted or cleared.
        in_subagent: output would reach a subagent instead of the session.
        prompt: what the model is asked; Gemini also submits what it goes on with at the end of a turn.
        stop_hook_active: a stop follows another one without an answer of the model in between, as after Esc in Gemini.
        tool_responses: the results of tools that have just shown the session its mail.
    """

    __slots__ = (
        "agent",
        "given_name",
        "in_subagent",
        "name",
        "prompt",
        "session",
        "starts_afresh",
        "state_key",
        "stop_hook_active",
        "tool_responses",
    )

    def __init__(self, name: str, session: str, agent: str) -> None:
        self.name = _OTHER_NAMES.get(name, name)
        self.given_name = name
        self.session = session
        self.state_key = session if is_mailbox_name(session) else _hash(session)
        self.agent = agent
        self.starts_afresh = False
        self.in_subagent = False
        self.prompt = ""
        self.stop_hook_active = False
        self.tool_responses: list[object] = []

    @property
    def mailboxes(self) -> tuple[str, ...]:
        """The agent's mailbox and the session's, if it can have one: senders may use either name."""
        return (self.agent, self.session) if self.has_own_mailbox else (self.agent,)

    @property
    def answers_turn(self) -> bool:
        """Whether the program waits with the end of a turn, for mail to go on with, as Gemini's does on call."""
        return self.name == DOORBELL and _OTHER_NAMES.get(self.given_name) == STOP

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
    event.in_subagent = bool(fields.get("agent_id"))
    event.prompt = str(fields.get("prompt", ""))
    event.stop_hook_active = fields.get("stop_hook_active") is True
    if event.name == USER_PROMPT_SUBMIT and fields.get("prompt") == "":  # of Qwen, between two steps
        event.name = POST_TOOL_USE
    if event.name == POST_TOOL_USE and not event.in_subagent:
        event.tool_responses = [call.get("tool_response") for call in _tool_calls(fields) if _shows_mail(call)]
    return event


def _tool_calls(fields: dict[str, object]) -> "list[dict[str, Any]]":
    """Returns the tools that have just run: a batch, or the one that the event itself describes."""
    calls = fields.get("tool_calls")
    return [_object_or_empty(call) for call in calls] if isinstance(calls, list) else [fields]  # pyright: ignore[reportUnknownVariableType]


def _shows_mail(fields: dict[str, object]) -> bool:
    """Returns whether the tool is one of ours that shows mail, or the shell that ran only `mailroom inbox`."""
    tool, arguments = str(fields.get("tool_name")), fields.get("tool_input")
    command = str(_object_or_empty(arguments).get("command"))
    runs_inbox = _COMMAND_WITH_MAIL in command and _SHELL_SYNTAX.isdisjoint(command)
    is_ours = any(tool == name or tool.endswith(f"_{name}") for name in _TOOLS_WITH_MAIL)
    return is_ours or (tool in _SHELLS and runs_inbox)


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
