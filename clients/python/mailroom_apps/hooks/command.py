"""`mailroom hook` — the command: one event in, at most one JSON object out.

A hook must never break its session. So trouble with the mail room (no daemon, an unreadable directory, no event at
all) is exit code 0 and a sentence on stderr, which Claude Code keeps in its debug log; a wrong setting is 1, which it
shows to the person without stopping anything. It is never 2: that would throw the person's prompt away.
Imports: see the package.
"""

__all__ = ["OK", "WRONGLY_SET_UP", "main"]

import json
import os
import sys

from mailroom_apps.hooks.complaints import complain
from mailroom_apps.hooks.event import (
    POST_TOOL_USE,
    SESSION_START,
    STOP,
    USER_PROMPT_SUBMIT,
    EventError,
    HookEvent,
    Options,
    UsageError,
    read_event,
    read_options,
)
from mailroom_apps.hooks.inbox import Unread, list_unread
from mailroom_apps.hooks.memory import Memory, is_watched
from mailroom_apps.hooks.news import find_news

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailroom_apps.hooks.report import Report

OK, WRONGLY_SET_UP = 0, 1


def main(arguments: list[str]) -> int:
    """Runs the hook with the arguments behind `mailroom hook`, and returns its exit code."""
    try:
        options = read_options(arguments)
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("`mailroom hook` reads a hook's event from standard input: `mailroom setup` installs it")
        _run(options, read_event(sys.stdin.buffer.read(), options.agent))
    except UsageError as error:
        _complain(str(error))
        return WRONGLY_SET_UP
    except EventError as error:
        _complain(f"{error}: nothing was shown")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no reason to break a session
        _complain(f"nothing was shown: {type(error).__name__}: {error}")
    return OK


def _run(options: Options, event: HookEvent) -> None:
    if event.name == SESSION_START and event.agent != event.session:
        from mailroom_apps.hooks.notices import announce_session

        if fault := announce_session(event.agent, event.session, options.address):
            _complain(f"mail for {event.session} does not go to {event.agent} (both are shown here): {fault}")
    if event.name in (USER_PROMPT_SUBMIT, POST_TOOL_USE) and not event.in_subagent and is_watched(event.session):
        from mailroom_apps.hooks.watch_lock import dismiss_doorbell

        dismiss_doorbell(event.session)  # the session is at work: it gets its mail from its hooks and tools
    unread = list_unread(options.root, event.mailboxes)
    if unread and (event.tool_output or find_news(event, unread, Memory.read(event.session))):
        _show(options, event, unread)


def _show(options: Options, event: HookEvent, unread: Unread) -> None:
    """Shows mail and tells the daemon, in this order."""
    from mailroom_apps.hooks.keeper import SessionBusyError, UnrememberedError, prune_sessions
    from mailroom_apps.hooks.showing import show

    try:
        report = show(event, options.root, unread, lambda text: _write(event, text))
    except SessionBusyError:
        return  # it shows the mail in our place
    except _OutputError:
        _complain("nobody reads this hook's output: the mail is shown next time")
        return
    except UnrememberedError as error:
        _complain(f"what is shown cannot be remembered: {error}")
        report = _show_unremembered(options, event, unread)
    if report is None:
        return
    from mailroom_apps.hooks.notices import report_offered

    if fault := report_offered(report.letters, options.address):
        _complain(f"the mail was shown, but its senders cannot see that yet: {fault}")
    prune_sessions()


def _show_unremembered(options: Options, event: HookEvent, unread: Unread) -> "Report | None":
    """Shows mail where the person sets the pace; anywhere else it would come back at each step."""
    from mailroom_apps.hooks.showing import preview

    if event.name not in (SESSION_START, USER_PROMPT_SUBMIT):
        return None
    if report := preview(event, options.root, unread):
        _write(event, report.text)
    return report


class _OutputError(Exception):
    """The output could not be written."""


def _write(event: HookEvent, text: str) -> None:
    """Writes the output and makes sure that it has left this process."""
    if event.name == STOP:
        answer: dict[str, object] = {"decision": "block", "reason": text}
    else:
        answer = {"hookSpecificOutput": {"hookEventName": event.name, "additionalContext": text}}
    try:
        sys.stdout.write(json.dumps(answer))
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered goes there at exit
        raise _OutputError from error


def _complain(sentence: str) -> None:
    complain("hook", sentence)
