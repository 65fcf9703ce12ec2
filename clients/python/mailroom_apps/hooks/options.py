"""Options — how a hook or a doorbell was set up: its arguments, then the environment.

Own parser: getopt and argparse take longer to import than a silent hook takes to run.
Invariant: the agent is a valid mailbox name, so it can become part of a path.
"""

__all__ = ["CLAUDE_CODE", "CODEX", "DIALECTS", "GEMINI", "QWEN", "Options", "UsageError", "read_options"]

import os

from mailroom.inbox_directory import NoHomeDirectoryError, default_root, expand_home, is_mailbox_name

CLAUDE_CODE, CODEX, GEMINI, QWEN = "claude-code", "codex", "gemini", "qwen"
DIALECTS = (CLAUDE_CODE, CODEX, GEMINI, "opencode", QWEN)  # what each means: `dialect`


class UsageError(Exception):
    """The command was set up wrongly. Every run would fail, so the user should see it."""


class Options:
    """How the hook or the doorbell was set up.

    Attributes:
        agent: whose mail; None: the session's own.
        root: the directory that holds inbox/.
        address: where the daemon is; None: found automatically.
        pid: the process whose end ends the doorbell; None: found automatically.
        dialect: the program whose hook this is; None: the event tells.
        then: the command that a doorbell gives the mail to, instead of exiting with 2; None: there is none.
    """

    __slots__ = ("address", "agent", "dialect", "pid", "root", "then")

    def __init__(self, agent: str | None, root: str, address: str | None = None, pid: int | None = None) -> None:
        self.agent = agent
        self.root = root
        self.address = address
        self.pid = pid
        self.dialect: str | None = None
        self.then: str | None = None


def read_options(arguments: list[str], *, positional: bool = False) -> Options:
    """Reads the arguments of `mailroom hook` or `mailroom doorbell`; the environment supplies what they leave out.

    Args:
        arguments: without the command's name.
        positional: whether the agent may also be given without --agent.

    Raises:
        UsageError: an argument is unknown or has an invalid value.
    """
    known = {"--agent", "--root", "--address", "--dialect", *(["--pid", "--then"] if positional else [])}
    given, rest = _parse(arguments, known)
    if len(rest) > positional:
        raise UsageError(f"unexpected argument {rest[-1]!r}: see --help")
    agent = given.get("--agent") or (rest[0] if rest else "") or os.environ.get("MAILROOM_AGENT", "")
    if agent and not is_mailbox_name(agent):
        raise UsageError(f"{agent!r} is not a valid agent name: use 1 to 128 of A-Z a-z 0-9 . _ - and at most one @")
    pid = given.get("--pid", "")
    if pid and not (pid.isascii() and pid.isdigit()):
        raise UsageError(f"{pid!r} is not a process id")
    dialect = given.get("--dialect")
    if dialect is not None and dialect not in DIALECTS:
        raise UsageError(f"--dialect {dialect!r} is unknown: use one of {', '.join(DIALECTS)}")
    try:
        root = expand_home(given["--root"], "--root") if "--root" in given else default_root()
    except NoHomeDirectoryError as error:
        raise UsageError(str(error)) from error
    options = Options(agent or None, root, given.get("--address"), int(pid) if pid else None)
    options.dialect = dialect
    options.then = given.get("--then")
    return options


def _parse(arguments: list[str], known: set[str]) -> tuple[dict[str, str], list[str]]:
    """Returns the options with their values, and the other arguments."""
    given: dict[str, str] = {}
    rest: list[str] = []
    following = iter(arguments)
    for argument in following:
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            rest.append(argument)
        elif name not in known:
            raise UsageError(f"unknown option {name}: see --help")
        elif not (value := value if equals else next(following, "")):
            raise UsageError(f"{name} needs a value")
        else:
            given[name] = value
    return given, rest
