"""Event — what Claude Code tells a hook on standard input, and the options that the hook was set up with.

Source of the format: Claude Code's hooks reference (`session_id`, `hook_event_name`, `source`, `stop_hook_active`;
`agent_id` inside a subagent only). Anything else in the input is ignored.
Invariant: session and agent are valid names of mailboxes, so they may become parts of a path.
"""

__all__ = [
    "DOORBELL",
    "POST_TOOL_USE",
    "SESSION_START",
    "STOP",
    "USER_PROMPT_SUBMIT",
    "EventError",
    "HookEvent",
    "Options",
    "UsageError",
    "is_name",
    "read_event",
    "read_options",
]

import json
import os

SESSION_START, USER_PROMPT_SUBMIT, POST_TOOL_USE, STOP = "SessionStart", "UserPromptSubmit", "PostToolUse", "Stop"
DOORBELL = "Doorbell"  # ours: mail came while the session waited

_MAX_NAME_CHARS = 128
_NAME_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_TOOLS_WITH_MAIL = ("__check_inbox", "__wait_for_message")  # mcp__SERVER__TOOL
_COMMAND_WITH_MAIL = "mailroom inbox"


class UsageError(Exception):
    """The hook was set up wrongly: each run would fail, so the person should see it."""


class EventError(Exception):
    """Standard input is not an event."""


class Options:
    """How the hook or the doorbell was set up.

    Attributes:
        agent: whose mail; None: the session's own.
        root: the directory that holds inbox/.
        address: where the daemon is; None: found by itself.
        pid: the process whose end ends the doorbell; None: found by itself.
    """

    __slots__ = ("address", "agent", "pid", "root")

    def __init__(self, agent: str | None, root: str, address: str | None = None, pid: int | None = None) -> None:
        self.agent = agent
        self.root = root
        self.address = address
        self.pid = pid


class HookEvent:
    """One event.

    Attributes:
        name: "SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", or one that is none of ours.
        session: the session's id; the agent's name where the input has none.
        agent: whose mail is shown.
        starts_afresh: the model has lost what it was shown before: its context was compacted or cleared.
        stop_hook_active: this stop comes after one that a hook prevented.
        in_subagent: what is shown now would reach a subagent, not the session.
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
        """The agent's mailbox, and the session's: mail may have been sent to either name."""
        return (self.agent,) if self.agent == self.session else (self.agent, self.session)


def is_name(text: str) -> bool:
    """Returns whether the text may name a mailbox: the contract's rule."""
    sides = text.split("@")
    is_sound = all(side and side[0] != "." and _NAME_CHARS.issuperset(side) for side in sides)
    return is_sound and len(sides) <= 2 and len(text) <= _MAX_NAME_CHARS


def read_options(arguments: list[str], *, positional: bool = False) -> Options:
    """Reads the arguments behind `mailroom hook` or `mailroom doorbell`, and the environment behind them.

    Args:
        arguments: without the command's name.
        positional: whether the agent may also be given by itself.

    Raises:
        UsageError: an argument is unknown or has a value that cannot be.
    """
    given, rest = _parsed(arguments, {"--agent", "--root", "--address", *(["--pid"] if positional else [])})
    if len(rest) > positional:
        raise UsageError(f"{rest[-1]!r} is one argument too many: see --help")
    agent = given.get("--agent") or (rest[0] if rest else "") or os.environ.get("MAILROOM_AGENT", "")
    if agent and not is_name(agent):
        raise UsageError(f"{agent!r} is no agent's name: 1 to 128 of A-Z a-z 0-9 . _ -, and at most one @")
    pid = given.get("--pid", "")
    if pid and not (pid.isascii() and pid.isdigit()):
        raise UsageError(f"{pid!r} is no process id")
    root = os.path.expanduser(given.get("--root") or os.environ.get("MAILROOM_ROOT") or "~/.claude")
    if root.startswith("~"):  # expanduser leaves ~ as it is if there is no home directory
        raise UsageError(f"there is no home directory for {root}: set HOME, MAILROOM_ROOT or --root")
    return Options(agent or None, root, given.get("--address"), int(pid) if pid else None)


def _parsed(arguments: list[str], known: set[str]) -> tuple[dict[str, str], list[str]]:
    """Returns options and other arguments; getopt and argparse take longer to import than a hook has."""
    given: dict[str, str] = {}
    rest: list[str] = []
    following = iter(arguments)
    for argument in following:
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            rest.append(argument)
        elif name not in known:
            raise UsageError(f"there is no option {name}: see --help")
        elif not (value := value if equals else next(following, "")):
            raise UsageError(f"{name} wants a value")
        else:
            given[name] = value
    return given, rest


def read_event(raw: bytes, agent: str | None) -> HookEvent:
    """Reads one event.

    Args:
        raw: all of standard input.
        agent: whose mail, if it is not the session's own.

    Raises:
        EventError: this is no event, or there is no valid name in it.
    """
    said = _read_object(raw)
    session = said.get("session_id") or agent
    if not isinstance(session, str) or not is_name(session):
        raise EventError(f"session_id is {session!r:.80}, which is no name of a session")
    event = HookEvent(str(said.get("hook_event_name")), session, agent or session)
    event.starts_afresh = event.name == SESSION_START and said.get("source") in ("clear", "compact")
    event.stop_hook_active = bool(said.get("stop_hook_active"))
    event.in_subagent = bool(said.get("agent_id"))
    event.tool_output = raw if _shows_mail(said) else b""
    return event


def _shows_mail(said: dict[str, object]) -> bool:
    """Returns whether the tool that was used is one of the mail room's, or its command line, and shows mail."""
    tool = str(said.get("tool_name"))
    return tool.endswith(_TOOLS_WITH_MAIL) or (tool == "Bash" and _COMMAND_WITH_MAIL in str(said.get("tool_input")))


def _read_object(raw: bytes) -> dict[str, object]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise EventError(f"standard input is not JSON ({error})") from error
    if not _is_object(value):
        raise EventError("standard input is not a JSON object")
    return value


def _is_object(value: object) -> bool:  # not in place: narrowing would need typing, which costs some milliseconds
    return isinstance(value, dict)
