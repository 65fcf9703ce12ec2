"""`mailroom doorbell` — waits until a session has mail, then exits with 2 and the mail on stderr.

That is how a Claude Code hook with `asyncRewake` wakes an idle session. Other programs are woken by a command of their
own, which gets the mail on stdin (`--then`); Gemini's hook answers with the mail, which keeps its turn open; Codex and
Qwen are only told that there is mail, which their hooks show (`ringing_watcher`). The
observing stream only signals that mail may be there: as in a hook, the inbox directories and the session's state decide
what is new. So no message wakes a session twice, and none that a hook has shown wakes it at all. Unshown mail that is
there at the start is shown at once.
It exits quietly when its session ends, when a newer doorbell takes over (`doorbell_lock`), or on SIGTERM; that of a
prompt exits if one watches already. It survives restarts of the daemon, and waits while the daemon is down.
Invariant: exit code 2 means that mail was written and recorded as shown. Nothing else exits with 2: that would wake the
session for nothing, at every stop anew. Mail that the command of `--then` did not take is not recorded.
"""

__all__ = ["MAIL", "NO_MAIL", "main"]

import asyncio
import json
import math
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from mailroom.errors import MailroomError

from mailroom_apps.hooks.event import DOORBELL, USER_PROMPT_SUBMIT, EventError, HookEvent, read_event
from mailroom_apps.hooks.first_name import use_first_name
from mailroom_apps.hooks.input_file import InputFile
from mailroom_apps.hooks.options import CLAUDE_CODE, CODEX, GEMINI, QWEN, Options, UsageError, read_options
from mailroom_apps.hooks.session_state import of_agent
from mailroom_apps.hooks.stderr import print_error

CODEX_EXEC = frozenset(("exec", "e"))  # the command of a run without a terminal, and its short form
COMMAND_TIMEOUT_SEC = 30.0
MAIL, NO_MAIL, FAILED = 2, 0, 1  # exit codes
RUNG_SEC = 1.0  # a doorbell that has rung tells the daemon, and exits
STDIN_TIMEOUT_SEC = 5.0  # a hook's event is there at once, even on a busy machine; a script may leave stdin open


class CommandFailedError(Exception):
    """The command of `--then` did not take the mail, which is as unseen as before."""


def main(arguments: list[str]) -> int:
    """Runs the doorbell with the arguments that follow `mailroom doorbell`, and returns its exit code."""
    signal.signal(signal.SIGTERM, _end)  # until it waits
    try:
        options = read_options(arguments, positional=True)
        return _run(options, _read_event(options))
    except UsageError as error:
        print_error("doorbell", str(error))
    except (CommandFailedError, EventError, MailroomError, OSError) as error:
        print_error("doorbell", f"not watching: {error}")
    except Exception as error:  # noqa: BLE001 - a crash would exit with 1 as well, but with a traceback
        print_error("doorbell", f"not watching: {type(error).__name__}: {error}")
    return FAILED


def _end(_number: int, _frame: object) -> None:
    sys.exit(NO_MAIL)


def _read_event(options: Options) -> HookEvent:
    """Reads the hook's event; without one, the agent's name is its session's name, too."""
    raw = b""
    if sys.stdin is not None and not sys.stdin.isatty() and select.select([sys.stdin], [], [], STDIN_TIMEOUT_SEC)[0]:
        raw = sys.stdin.buffer.read()
    if raw.strip():
        given = read_event(raw, options.agent)
        use_first_name(given, options)
        event = HookEvent(DOORBELL, given.session, given.agent)
        event.given_name = given.given_name
        return event
    if options.agent is None:
        raise UsageError("no agent given: give an agent's name, set MAILROOM_AGENT, or start the doorbell as a hook")
    return HookEvent(DOORBELL, options.agent, options.agent)


def _run(options: Options, event: HookEvent) -> int:
    from mailroom_apps.hooks.session_process import session_process

    session = options.pid or session_process()  # before anything slow: the parent may exit, and init takes its place
    is_hook = event.given_name != DOORBELL
    if is_hook and not _can_be_woken(options.dialect or CLAUDE_CODE, session):
        return NO_MAIL
    from mailroom_apps.hooks.doorbell_lock import DoorbellLock

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log lines would become part of the mail
    is_prompt = event.given_name == USER_PROMPT_SUBMIT  # a turn that a person interrupts has no stop
    with ExitStack() as stack:
        own = DoorbellLock(event.state_key, RUNG_SEC, takes_over=False) if is_prompt else DoorbellLock(event.state_key)
        locks = [stack.enter_context(own)]
        if is_prompt and not own.held:
            return NO_MAIL
        if shared := _shared_lock(options.dialect, event.agent, session):
            locks.append(stack.enter_context(DoorbellLock(shared)))
        if not all(lock.held for lock in locks):
            print_error("doorbell", "another doorbell watches this session and did not exit")
            return NO_MAIL
        has_shown_mail = asyncio.run(_wait_for_mail(options, event, session))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # its exit code says what it has shown
        wakes_by_code = options.then is None and (options.dialect not in (GEMINI, QWEN) or not is_hook)
        return MAIL if has_shown_mail and wakes_by_code else NO_MAIL


def _shared_lock(dialect: str | None, agent: str, session: int) -> str | None:
    """Returns what a session shares with the one that it replaces, whose doorbell must not ring as well; None: nothing.

    Claude Code and Qwen have one session at a time in a process, and `/clear` starts the next one. Codex keeps all of
    them in a server in the background, also those that nobody watches any more: the one that was used last has the
    doorbell of its agent. In opencode the plugin sees to that.
    """
    if dialect in (CLAUDE_CODE, QWEN):
        return f".process-{session}"
    return of_agent(agent) if dialect == CODEX else None


def _can_be_woken(dialect: str, session: int) -> bool:
    """Returns whether a session goes on when it is idle, and does not end.

    Without a terminal Claude Code would wait for its doorbell before it ends. What is queued for `codex exec` when it
    ends reaches no model (openai/codex#41060). Qwen can be woken only through its input file.
    """
    if os.environ.get("MAILROOM_WAKE") == "always":
        return True
    if dialect == CODEX:
        from mailroom_apps.hooks.session_process import arguments_of

        return CODEX_EXEC.isdisjoint(arguments_of(session))
    if dialect == QWEN:
        return InputFile.of(session) is not None
    return dialect != CLAUDE_CODE or os.environ.get("CLAUDE_CODE_ENTRYPOINT", "cli") == "cli"


async def _wait_for_mail(options: Options, event: HookEvent, session: int) -> bool:
    """Returns whether mail was shown."""
    from mailroom.aio import AsyncMailroom

    from mailroom_apps.hooks.dialect import dialect_of
    from mailroom_apps.hooks.mail_watcher import MailWatcher
    from mailroom_apps.hooks.ringing_watcher import RingingWatcher
    from mailroom_apps.hooks.session_end import on_session_end

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    on_session_end(session, ended.set)
    async with AsyncMailroom(options.address, grace=math.inf) as client:
        write = _way_to_write(options, event, session)
        rings = event.given_name != DOORBELL and options.dialect in (CODEX, QWEN)
        watches = RingingWatcher if rings else MailWatcher
        watcher = watches(client, event, options.root, dialect_of(event, options.dialect), write)
        if isinstance(watcher, RingingWatcher):
            watcher.repeats = options.dialect == QWEN
        tasks = [asyncio.create_task(watcher.watch()), asyncio.create_task(_wait_for(ended))]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # raises the error that has ended it
        await watcher.report_shown()
        return watcher.has_shown_mail


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()


def _way_to_write(options: Options, event: HookEvent, session: int) -> Callable[[str], None] | None:
    """Returns what mail is written with; None: to stderr."""
    if options.then:
        return partial(_give_to, options.then, event.session)
    if event.given_name != DOORBELL and options.dialect == GEMINI:
        return _answer
    return InputFile.of(session) if event.given_name != DOORBELL and options.dialect == QWEN else None


def _answer(text: str) -> None:
    """Answers the end of a turn: the program goes on with the mail."""
    os.write(1, json.dumps({"decision": "block", "reason": text}).encode())


def _give_to(command: str, session: str, text: str) -> None:
    """Runs a command of the shell with the mail on its stdin, and the session's id in MAILROOM_SESSION.

    Raises:
        CommandFailedError: it did not take the mail.
    """
    environment = {**os.environ, "MAILROOM_SESSION": session}
    try:
        done = subprocess.run(  # noqa: S603 - a setting of the user, as each hook
            ["/bin/sh", "-c", command],
            input=text.encode(errors="backslashreplace"),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=COMMAND_TIMEOUT_SEC,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(f"the command of --then did not end within {COMMAND_TIMEOUT_SEC:.0f} s") from error
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise CommandFailedError(f"the command of --then failed ({done.returncode}): {' '.join(last)}")
