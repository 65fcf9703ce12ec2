"""RingingWatcher — wakes a session by a prompt that says only that there is mail; the session's hooks show the mail.

Codex holds a queued prompt back after a turn that was interrupted, perhaps for good, and Qwen drops a prompt that comes
while it is busy. Mail in such a prompt would count as shown, and no model would have seen it. The hook of the prompt
shows it instead, or a hook between two steps, and records it as every hook does.
Where prompts are dropped it rings again until one of them has, less and less often, so that a session without hooks is
left alone. It goes on watching after that, since a turn that a person interrupts has no stop, whose doorbell would take
over.
"""

__all__ = ["RING", "RingingWatcher"]

import asyncio
from contextlib import suppress

from mailroom.inbox_directory import list_unread

from mailroom_apps.hooks.delivery import preview
from mailroom_apps.hooks.mail_watcher import GATHER_SEC, MailWatcher

RING = "New mail has arrived."
LOOK_SEC = 1.0
FIRST_LOOKS = 5  # before it rings again: a prompt is read within a second, and its hook may take more on a busy machine
LOOK_AGAIN_SEC = 30.0  # for a file that its daemon could not write when the stream announced it


class RingingWatcher(MailWatcher):
    """Watches until it is cancelled; see MailWatcher for its arguments.

    Attributes:
        repeats: whether it rings again for the same mail.
    """

    repeats = True

    async def _show_when_there_is_mail(self) -> None:
        while True:
            if self._has_mail_to_show():
                await asyncio.sleep(GATHER_SEC)
                await self._wait_for_hook()
                await self._ring_until_it_is_shown()
            self._pop_streamed()  # hooks show files
            with suppress(TimeoutError):
                await asyncio.wait_for(self._may_have_mail.wait(), LOOK_AGAIN_SEC)
            self._may_have_mail.clear()

    async def _ring_until_it_is_shown(self) -> None:
        looks = FIRST_LOOKS
        while self._has_mail_to_show():
            self._write(RING)
            while True:
                for _ in range(looks):
                    await asyncio.sleep(LOOK_SEC)
                    if not self._has_mail_to_show():
                        return
                looks *= 2
                if self.repeats:
                    break

    def _has_mail_to_show(self) -> bool:
        """Returns whether the session's next hook has something to show."""
        unread = list_unread(self._root, self._event.mailboxes)
        return bool(unread) and preview(self._event, self._root, unread, self._dialect) is not None
