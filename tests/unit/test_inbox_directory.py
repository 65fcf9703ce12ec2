"""Where readers look for inbox files: the default root, mailbox names, file names."""

import os
from pathlib import Path

import pytest
from mailroom.inbox_directory import (
    NoHomeDirectoryError,
    claude_directory,
    default_root,
    expand_home,
    is_mailbox_name,
    list_unread,
    message_id_in,
)
from mailroomd.model import settings
from mailroomd.model.names import is_name
from mailroomd.operator.installation import Installation


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without HOME and without a passwd entry, as in a container with an arbitrary user."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", str)  # what it does then: the path stays as it is


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({}, "/home/ana/.claude"),
        ({"CLAUDE_CONFIG_DIR": "/cc"}, "/cc"),
        ({"CLAUDE_CONFIG_DIR": ""}, "/home/ana/.claude"),
        ({"CLAUDE_CONFIG_DIR": "/cc", "MAILROOM_ROOT": "/root"}, "/root"),
        ({"MAILROOM_ROOT": "~/mail"}, "/home/ana/mail"),
    ],
)
def test_daemon_doctor_and_readers_have_one_default_root(
    environ: dict[str, str], root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAILROOM_ROOT", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ana", **environ}.items():
        monkeypatch.setenv(name, value)
    assert default_root() == root
    assert Installation.find(address="unix:/x.sock").root == Path(root)
    if "MAILROOM_ROOT" not in environ:
        assert settings.Settings().root == Path(root)


@pytest.mark.usefixtures("no_home")
def test_without_a_home_directory_no_path_starts_with_a_tilde() -> None:
    for environ in ({}, {"MAILROOM_ROOT": "~/mail"}, {"CLAUDE_CONFIG_DIR": "~nobody-like-this/x"}):
        with pytest.raises(NoHomeDirectoryError, match="set HOME or MAILROOM_ROOT"):
            default_root(environ)
    with pytest.raises(NoHomeDirectoryError, match="set HOME or XDG_STATE_HOME"):
        expand_home("~/.local/state", "XDG_STATE_HOME")
    assert claude_directory({"CLAUDE_CONFIG_DIR": "/cc"}) == "/cc"


@pytest.mark.parametrize(
    "text", ["", "..", "../abc", "/etc", "a@..", ".tmp", "a" * 129, "a\0b", "a b", "a@b@c", "ü", "a@"]
)
def test_an_invalid_mailbox_name_is_recognized(text: str) -> None:
    assert not is_mailbox_name(text)
    assert not is_name(text)


@pytest.mark.parametrize("text", ["a", "a" * 128, "A-z_0.9", "agent@team", "a.", "-"])
def test_readers_accept_the_daemons_mailbox_names(text: str) -> None:
    assert is_mailbox_name(text)
    assert is_name(text)


def test_only_names_of_inbox_files_have_a_message_id() -> None:
    assert message_id_in("0198c0ffee000001.json") == "0198c0ffee000001"
    for name in ("0198C0FFEE000001.json", "0198c0ffee000001.json.tmp", "198c0ffee000001.json", "notes.json", ""):
        assert message_id_in(name) is None


def test_unread_ids_are_listed_with_their_mailboxes(tmp_path: Path) -> None:
    for mailbox, name in (("bob", "0198c0ffee000001.json"), ("s1", "0198c0ffee000002.json"), ("s1", "other.json")):
        path = tmp_path / "inbox" / mailbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    unread = list_unread(str(tmp_path), ("bob", "s1", "missing"))
    assert unread == {"0198c0ffee000001": "bob", "0198c0ffee000002": "s1"}
