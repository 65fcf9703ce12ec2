"""The doorbell's watcher with a fake daemon: it shows only streamed mail that is still unread."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from mailroom import AsyncMailroom
from mailroom.v1 import mailroom_pb2 as pb
from mailroom_apps.hooks import mail_watcher
from mailroom_apps.hooks.dialect import DEFAULT
from mailroom_apps.hooks.event import DOORBELL, HookEvent
from mailroom_apps.hooks.mail_watcher import MailWatcher
from support.fakes.fake_daemon import FakeDaemon
from support.fakes.scenes import BOUND_SEC, running
from support.fakes.scripted import Refusal
from support.harness.hooks import Session

End = Callable[[FakeDaemon, str], None]


def expire(fake: FakeDaemon, message_id: str) -> None:
    fake.messages[message_id].state = pb.DELIVERY_STATE_EXPIRED


def clear(fake: FakeDaemon, message_id: str) -> None:
    del fake.messages[message_id]


def watcher_of(client: AsyncMailroom, directory: Path, texts: list[str]) -> MailWatcher:
    event = HookEvent(DOORBELL, "s1", "bob")
    return MailWatcher(client, event, str(directory / "root"), DEFAULT, texts.append)


def watch(directory: Path, monkeypatch: pytest.MonkeyPatch, happen: Callable[[FakeDaemon], str]) -> str:
    """Watches bob's mail while something happens, without inbox files; returns what was shown in the end."""
    texts: list[str] = []
    monkeypatch.setenv("XDG_STATE_HOME", str(directory / "xdg"))
    monkeypatch.setattr(mail_watcher, "GATHER_SEC", 0.05)
    monkeypatch.setattr(mail_watcher, "RETRY_SEC", 0.01)
    monkeypatch.setattr(mail_watcher, "TIMEOUT_SEC", 0.3)

    async def stage() -> None:
        async with (
            asyncio.timeout(BOUND_SEC),
            running(directory) as fake,
            AsyncMailroom(fake.address, grace=0.0) as client,
        ):
            watcher = watcher_of(client, directory, texts)
            watching = asyncio.create_task(watcher.watch())
            await fake.wait_until(lambda: fake.open_streams == 2)
            happen(fake)
            await watching
            assert watcher.has_shown_mail

    asyncio.run(stage())
    (text,) = texts
    return text


@pytest.mark.parametrize("end", [FakeDaemon.mark_read, expire, clear])
def test_streamed_mail_that_is_over_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: End) -> None:
    def happen(fake: FakeDaemon) -> str:
        end(fake, fake.deliver("bob", "too late"))
        return fake.deliver("bob", "in time")

    shown = watch(tmp_path, monkeypatch, happen)
    assert "in time" in shown
    assert "too late" not in shown


def test_streamed_mail_is_shown_once_the_daemon_knows_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def happen(fake: FakeDaemon) -> str:
        fake.refuse("GetMessage", *[Refusal()] * 8)  # the client itself retries some of them
        return fake.deliver("bob", "unread")

    assert "unread" in watch(tmp_path, monkeypatch, happen)


def test_mail_in_a_file_is_shown_at_once_while_the_daemon_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    Session(tmp_path, agent="bob").deliver("it is in a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(mail_watcher, "GATHER_SEC", 0.05)

    async def stage() -> None:
        async with asyncio.timeout(BOUND_SEC), AsyncMailroom(f"unix:{tmp_path}/none.sock", grace=math.inf) as client:
            await watcher_of(client, tmp_path, texts).watch()

    asyncio.run(stage())
    assert "it is in a file" in texts[0]
