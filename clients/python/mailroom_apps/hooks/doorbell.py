"""Doorbell — waits until there is mail for a session, then ends with 2 and the mail on stderr.

That is how a Claude Code hook with `asyncRewake` wakes an idle session. It holds an observing stream, which is only a
bell: what is new is decided by the inbox directories and the session's memory, like in a hook, so one message never
rings twice for a session, nor does one that a hook has shown. Mail that nobody has shown when it starts rings at once.
It ends quietly when its session does or is at work again, when a newer doorbell takes over (`hook.watch_lock`), or on
SIGTERM. It survives restarts of the daemon, and waits for one that is down.
Invariant: 2 means that mail was written and is remembered. Nothing else ends with 2: that would wake the session for
nothing, at each stop anew.
"""

__all__ = ["NOTHING", "RUNG", "main"]

import asyncio
import math
import os
import select
import signal
import sys

from mailroom.errors import MailroomError

from mailroom_apps.hooks.complaints import complain
from mailroom_apps.hooks.event import DOORBELL, EventError, HookEvent, Options, UsageError, read_event, read_options

RUNG, NOTHING, FAILED = 2, 0, 1
EVENT_PATIENCE_SEC = 5.0  # a hook's event is there at once, even on a busy machine; a script may leave stdin open


def main(arguments: list[str]) -> int:
    """Runs the doorbell with the arguments behind `mailroom doorbell`, and returns its exit code."""
    try:
        options = read_options(arguments, positional=True)
        return _watch(options, _read_event(options))
    except UsageError as error:
        complain("doorbell", str(error))
    except (EventError, MailroomError, OSError) as error:
        complain("doorbell", f"not watching: {error}")
    except Exception as error:  # noqa: BLE001 - a crash would end with 1 as well, but with a traceback
        complain("doorbell", f"not watching: {type(error).__name__}: {error}")
    return FAILED


def _read_event(options: Options) -> HookEvent:
    """Reads the hook's event; without one, the agent's name stands for its session."""
    raw = b""
    if sys.stdin is not None and not sys.stdin.isatty() and select.select([sys.stdin], [], [], EVENT_PATIENCE_SEC)[0]:
        raw = sys.stdin.buffer.read()
    if raw.strip():
        event = read_event(raw, options.agent)
        return HookEvent(DOORBELL, event.session, event.agent)
    if options.agent is None:
        raise UsageError("whose mail? Give an agent, set MAILROOM_AGENT, or start it as a hook")
    return HookEvent(DOORBELL, options.agent, options.agent)


def _watch(options: Options, event: HookEvent) -> int:
    from mailroom_apps.hooks.session_end import session_process
    from mailroom_apps.hooks.watch_lock import WatchLock

    session = options.pid or session_process()  # before anything slow, so that it is not init yet
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log lines would become part of the mail
    with WatchLock(event.session) as lock:
        if not lock.held:
            complain("doorbell", "another one watches for this session, and did not leave")
            return NOTHING
        return RUNG if asyncio.run(_wait(options, event, session)) else NOTHING


async def _wait(options: Options, event: HookEvent, session: int) -> bool:
    """Returns whether it has rung."""
    from mailroom.aio import AsyncMailroom

    from mailroom_apps.hooks.bell import Bell
    from mailroom_apps.hooks.session_end import when_session_ends

    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    when_session_ends(session, over.set)
    async with AsyncMailroom(options.address, grace=math.inf) as client:
        bell = Bell(client, event, options.root)
        ringing = [asyncio.create_task(bell.ring_for(mailbox)) for mailbox in event.mailboxes]
        tasks = [*ringing, asyncio.create_task(_until(over))]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # raises what has ended it
        await bell.report_offered()
        return bell.rung


async def _until(event: asyncio.Event) -> None:
    await event.wait()
