"""First name — the name of an agent that has none of its own: the id of the first session of its program's process.

Claude Code starts the MCP server once, with the id of its first session, and that is the name under which the agent
sends. `/clear` and `/resume` begin another session in the same process. Its hooks go on with the first name, which is
kept in two files of the sessions' directory: `.process-{pid}.agent` says the first session of a process, and
`{session}.agent` the name of a later session. Mail for a later session's id reaches the agent by an alias.
Only for Claude Code: one process of Codex serves several sessions.
"""

__all__ = ["use_first_name"]

import os

from mailroom.inbox_directory import is_mailbox_name

from mailroom_apps.hooks.event import SESSION_START, HookEvent
from mailroom_apps.hooks.options import CLAUDE_CODE, Options
from mailroom_apps.hooks.session_state import sessions_directory


def use_first_name(event: HookEvent, options: Options) -> None:
    """Gives an event the name of its agent, if that is not set up.

    Raises:
        OSError: the name cannot be kept.
    """
    if options.agent is not None or options.dialect != CLAUDE_CODE or event.session != event.state_key:
        return
    directory = sessions_directory()
    if event.name == SESSION_START and not event.in_subagent:
        event.agent = _first_session(directory, event.session)
        if event.agent != event.session:
            _write(directory, f"{event.session}.agent", event.agent)
    elif is_mailbox_name(name := _read(f"{directory}/{event.session}.agent")):
        event.agent = name


def _first_session(directory: str, session: str) -> str:
    """Returns the first session of this process; records this one as the first if there was none."""
    from mailroom_apps.hooks.session_process import session_process, started_at

    process = session_process()
    file, started = f".process-{process}.agent", started_at(process)
    then, _, first = _read(f"{directory}/{file}").partition(" ")
    if then == started and is_mailbox_name(first):
        return first
    _write(directory, file, f"{started} {session}")
    return session


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(1024).decode("ascii", "replace")
    except OSError:
        return ""


def _write(directory: str, name: str, text: str) -> None:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    draft = f"{directory}/.{name.lstrip('.')}.{os.getpid()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(draft, flags, 0o600), "wb") as file:
        file.write(text.encode())
    os.replace(draft, f"{directory}/{name}")
