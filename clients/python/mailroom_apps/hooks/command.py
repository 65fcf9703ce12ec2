"""`mailroom hook` — the command: one event in, at most one JSON object out.

A hook must never break its session. Trouble with Mailroom (no daemon, an unreadable directory, no event at all) is
therefore exit code 0 and a sentence on stderr, which Claude Code keeps in its debug log. A wrong setting is exit code
1, which Claude Code shows to the user without stopping anything. It is never 2: that would discard the user's prompt.
Imports: see the package.
"""

__all__ = ["OK", "WRONG_SETTING", "id_at_start", "main"]

import json
import os
import sys
import time

from mailroom.inbox_directory import ID_MS_SHIFT, list_unread

from mailroom_apps.hooks.event import (
    SESSION_END,
    SESSION_START,
    USER_PROMPT_SUBMIT,
    EventError,
    HookEvent,
    read_event,
)
from mailroom_apps.hooks.first_name import use_first_name
from mailroom_apps.hooks.options import CODEX, GEMINI, Options, UsageError, read_options
from mailroom_apps.hooks.session_state import SessionState, is_watched, of_agent
from mailroom_apps.hooks.stderr import print_error
from mailroom_apps.hooks.unseen import find_unseen, settle_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mailroom_apps.hooks.dialect import Dialect
    from mailroom_apps.hooks.report import Report

OK, WRONG_SETTING = 0, 1


def main(arguments: list[str]) -> int:
    """Runs the hook with the arguments that follow `mailroom hook`, and returns its exit code."""
    try:
        options = read_options(arguments)
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("`mailroom hook` reads a hook event from standard input: `mailroom setup` installs it")
        _run(options, read_event(sys.stdin.buffer.read(), options.agent))
    except UsageError as error:
        _print_error(str(error))
        return WRONG_SETTING
    except EventError as error:
        _print_error(f"no mail shown: {error}")
    except Exception as error:  # noqa: BLE001 - no error of ours is a reason to break a session
        _print_error(f"no mail shown: {type(error).__name__}: {error}")
    return OK


def _run(options: Options, event: HookEvent) -> None:
    use_first_name(event, options)
    unread = list_unread(options.root, event.mailboxes)
    if event.name == SESSION_START:  # later mail is left to the doorbell, which wakes the session for it
        end_id = id_at_start()
        unread = {message_id: mailbox for message_id, mailbox in unread.items() if message_id < end_id}
    if event.name == SESSION_START and event.has_own_mailbox:
        from mailroom_apps.hooks.daemon_calls import set_alias

        if error := set_alias(event.agent, event.session, options.address):
            _print_error(f"{event.session} is not an alias of {event.agent}; mail for both is shown here: {error}")
    _dismiss_doorbell(options, event)
    if unread:
        state = SessionState.read(event.state_key)
        if settle_answer(event, state) or event.tool_responses or find_unseen(event, unread, state):
            _show(options, event, unread)


def id_at_start() -> str:
    """Returns the first id that a message could have got since this process was started."""
    with open("/proc/self/stat", "rb") as file:
        started_ticks = int(file.read().rpartition(b")")[2].split()[19])
    age_sec = time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    return f"{int((time.time() - age_sec) * 1000) << ID_MS_SHIFT:016x}"


def _dismiss_doorbell(options: Options, event: HookEvent) -> None:
    """Dismisses the doorbell of a session that has ended, and in Codex and Gemini that of a turn that begins.

    The process of the session may go on with another one. Codex queues a prompt that comes during a turn, whose hooks
    show the mail between its steps; and it holds back what is queued for a session whose turn was interrupted. Gemini
    does not end a hook when a person ends the turn that waits for it, and drops what the hook answers.
    """
    if event.in_subagent:
        return
    if event.name == SESSION_END:
        doorbell = event.state_key
    elif event.name == USER_PROMPT_SUBMIT and options.dialect == CODEX:
        doorbell = of_agent(event.agent)
    elif event.name == USER_PROMPT_SUBMIT and options.dialect == GEMINI:
        doorbell = event.state_key
    else:
        return
    if is_watched(doorbell):
        from mailroom_apps.hooks.doorbell_lock import dismiss_doorbell

        dismiss_doorbell(doorbell)


def _show(options: Options, event: HookEvent, unread: dict[str, str]) -> None:
    """Shows mail, then informs the daemon."""
    from mailroom_apps.hooks.delivery import show_mail
    from mailroom_apps.hooks.dialect import dialect_of
    from mailroom_apps.hooks.session_update import SessionBusyError, StateNotSavedError, prune_sessions

    dialect = dialect_of(event, options.dialect)
    try:
        report = show_mail(
            event, options.root, unread, lambda text: _write(dialect.answer(event, text)), dialect=dialect
        )
    except SessionBusyError:
        return  # another hook of this session shows the mail
    except _OutputError:
        _print_error("standard output is closed: the mail is shown next time")
        return
    except StateNotSavedError as error:
        _print_error(f"cannot record which mail was shown: {error}")
        report = _show_unrecorded(options, event, unread, dialect)
    if report is None:
        return
    from mailroom_apps.hooks.daemon_calls import report_shown

    if error := report_shown(event, report, options.address):
        _print_error(f"the mail was shown, but that could not be reported to the daemon: {error}")
    prune_sessions()


def _show_unrecorded(options: Options, event: HookEvent, unread: dict[str, str], dialect: "Dialect") -> "Report | None":
    """Shows mail only where the user sets the pace; elsewhere it would come back at every step."""
    from mailroom_apps.hooks.delivery import preview

    if event.name not in (SESSION_START, USER_PROMPT_SUBMIT):
        return None
    if report := preview(event, options.root, unread, dialect):
        _write(dialect.answer(event, report.text))
    return report


class _OutputError(Exception):
    """The output could not be written."""


def _write(answer: "dict[str, Any]") -> None:
    """Writes the output and flushes it."""
    try:
        sys.stdout.write(json.dumps(answer))
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # at exit, the rest of the buffer goes there
        raise _OutputError from error


def _print_error(sentence: str) -> None:
    print_error("hook", sentence)
