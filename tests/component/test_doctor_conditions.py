"""The doctor names each condition that it can see and says what to do; each is made for real, without a daemon."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from mailroom.addresses import Address
from mailroomd.auth.token_file import TokenFile
from mailroomd.model.ids import MS_SHIFT
from mailroomd.operator.doctor import Installation, Level, daemon
from support.harness.installed import SENT_MS, change, found, make_installation, put_file, put_team_inbox
from support.harness.storing import draft


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr(daemon, "GRACE_SEC", 0.0)
    made = make_installation(tmp_path)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(made.root))
    return made


# -- the conditions -------------------------------------------------------------------------------------------------
# Each function makes one. It returns words of the finding and, if the doctor is to look elsewhere, an installation.

Condition = Callable[[Installation], str | tuple[str, Installation]]
CONDITIONS: list[tuple[Condition, str, Level, str]] = []


def condition(check: str, level: Level, advice: str) -> Callable[[Condition], Condition]:
    def register(function: Condition) -> Condition:
        CONDITIONS.append((function, check, level, advice))
        return function

    return register


def leave_old_response(installation: Installation, session: str, name: str, content: str) -> None:
    path = installation.root / "outbox" / session / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (SENT_MS / 1000, SENT_MS / 1000))


@condition("tokens", Level.PROBLEM, "chmod 600")
def a_token_file_that_others_can_read(installation: Installation) -> str:
    file = TokenFile(installation.state_dir)
    file.create("bob", SENT_MS)
    file.path.chmod(0o644)
    return "open to others"


@condition("MCP token", Level.PROBLEM, "chmod 600")
def an_mcp_token_that_others_can_read(installation: Installation) -> str:
    path = installation.state_dir / "mcp-token"
    path.write_text("secret\n")
    path.chmod(0o640)
    return "is open to others (mode 640)"


@condition("MCP token", Level.PROBLEM, "remove it")
def an_mcp_token_that_is_a_link(installation: Installation) -> str:
    (installation.state_dir / "mcp-token").symlink_to("/dev/null")
    return "is not a regular file"


@condition("outbox files", Level.WARNING, "one JSON object")
def an_outbox_file_that_is_ignored(installation: Installation) -> str:
    leave_old_response(installation, "s1", "r.json", "[1]")
    return "1 file is ignored: s1/r.json (it is JSON, but not an object)"


@condition("outbox files", Level.WARNING, "remove them")
def outbox_files_in_a_directory_that_is_no_sessions(installation: Installation) -> str:
    for name in ("1.json", "2.json", "3.json", "4.json"):
        leave_old_response(installation, "a b", name, "{}")
    return "4 files are ignored: a b/1.json (its directory's name is no session's)"


@condition("tokens", Level.PROBLEM, "`mailroom token create`")
def a_damaged_token_file(installation: Installation) -> str:
    path = TokenFile(installation.state_dir).path
    path.write_text('{"version": 1, "tok')
    path.chmod(0o600)
    return "is damaged"


@condition("tokens", Level.WARNING, "`mailroom token revoke ")
def a_token_without_a_holder(installation: Installation) -> str:
    file = TokenFile(installation.state_dir)
    _, record = file.create(None, SENT_MS)
    content = orjson.loads(file.path.read_bytes())
    del content["tokens"][0]["admin"]
    file.path.write_bytes(orjson.dumps(content))
    return record.id


@condition("unknown files", Level.WARNING, "`mailroom ack bob ")
def an_older_inbox_file_that_the_database_does_not_have(installation: Installation) -> str:
    return put_file(installation.root, (SENT_MS - 5) << MS_SHIFT, draft("bob")).name


@condition("unknown files", Level.WARNING, "restart `mailroomd`: it imports them")
def a_newer_inbox_file_that_the_database_does_not_have(installation: Installation) -> str:
    return put_file(installation.root, (SENT_MS + 5) << MS_SHIFT, draft("bob")).name


@condition("unknown files", Level.WARNING, "`mailroom ack bob ")
def an_inbox_file_from_the_future_which_the_daemon_does_not_import(installation: Installation) -> str:
    return put_file(installation.root, (SENT_MS * 2) << MS_SHIFT, draft("bob")).name


@condition("unknown files", Level.WARNING, "restart `mailroomd`: it imports them")
def a_database_that_is_gone(installation: Installation) -> str:
    installation.database.unlink()
    return "3 inbox files"


@condition("copies", Level.PROBLEM, "`mailroom show ID`")
def a_pipe_in_place_of_an_inbox_file(installation: Installation) -> str:
    path = min((installation.inbox / "bob").iterdir())
    path.unlink()
    os.mkfifo(path)
    return f"1 of 3 inbox files differ from the database: {path}"


@condition("team inbox", Level.PROBLEM, "move it away")
def a_team_inbox_that_is_not_json(installation: Installation) -> str:
    return f"{put_team_inbox(installation, b'[{')} is not JSON"


@condition("team inbox", Level.WARNING, "check again")
def a_team_inbox_that_is_being_written(installation: Installation) -> str:
    return f"{put_team_inbox(installation, b'[{', age_sec=0.0)} is being written"


@condition("team inbox", Level.PROBLEM, "make it a JSON array")
def a_team_inbox_of_another_format(installation: Installation) -> str:
    return f"{put_team_inbox(installation, orjson.dumps({'messages': []}))} has an unknown format"


@condition("team inbox", Level.PROBLEM, "let its agent read it")
def a_team_inbox_that_is_too_large(installation: Installation) -> str:
    os.truncate(put_team_inbox(installation, b"[]"), (64 << 20) + 1)
    return "more than 64 MiB"


@condition("team inbox", Level.PROBLEM, "regular file")
def a_pipe_in_place_of_a_team_inbox(installation: Installation) -> str:
    path = put_team_inbox(installation, b"")
    path.unlink()
    os.mkfifo(path)
    return str(path)


@condition("restore", Level.WARNING, "rm -r ")
def a_refused_backup(installation: Installation) -> str:
    path = installation.state_dir / "restore.refused.1"
    path.mkdir()
    return str(path)


@condition("restore", Level.WARNING, "start `mailroomd`, which restores it")
def a_backup_that_waits_for_the_daemon(installation: Installation) -> str:
    (installation.state_dir / "restore").mkdir()
    return "a backup waits"


@condition("rows", Level.PROBLEM, "restore a backup")
def a_message_with_an_unknown_state(installation: Installation) -> str:
    change(installation, "UPDATE messages SET state = 77 WHERE id = (SELECT min(id) FROM messages)")
    return "with the 3 newest messages: 1 damaged: messages "


@condition("rows", Level.PROBLEM, "restore a backup")
def a_message_with_bytes_that_are_not_text(installation: Installation) -> str:
    change(installation, "UPDATE messages SET thread_id = CAST(X'FF' AS TEXT)")
    return "3 damaged: messages "


@condition("marks", Level.PROBLEM, "restore a backup")
def a_mark_that_is_not_a_number(installation: Installation) -> str:
    change(installation, "UPDATE meta SET value = 'x' WHERE name = 'synced_id'")
    return "the mark synced_id is missing or out of range"


@condition("marks", Level.PROBLEM, "restore a backup")
def a_last_id_that_is_lower_than_a_message(installation: Installation) -> str:
    change(installation, "UPDATE meta SET value = 1 WHERE name = 'last_id'")
    return "ids would repeat"


@condition("database tables", Level.PROBLEM, """'DROP TRIGGER "it""s"'""")
def a_trigger(installation: Installation) -> str:
    change(
        installation,
        """CREATE TRIGGER "it""s" AFTER INSERT ON messages BEGIN UPDATE messages SET sender = 'boss'; END""",
    )
    return "forge"


@condition("database tables", Level.WARNING, """'DROP VIEW "v"'""")
def a_view(installation: Installation) -> str:
    change(installation, "CREATE VIEW v AS SELECT randomblob(1000000000)")
    return "the view v"


@condition("database tables", Level.WARNING, """'DROP TABLE "notes"'""")
def an_unknown_table(installation: Installation) -> str:
    change(installation, "CREATE TABLE notes (text)")
    return "the table notes"


@condition("database tables", Level.PROBLEM, """'DROP INDEX "once"'""")
def a_unique_index_that_refuses_messages(installation: Installation) -> str:
    change(installation, "CREATE UNIQUE INDEX once ON messages (id, sender)")
    return "refuse messages"


@condition("database tables", Level.WARNING, "`mailroom backup")
def an_index_that_is_missing(installation: Installation) -> str:
    change(installation, "DROP INDEX messages_of_thread")
    return "messages_of_thread is missing"


@condition("database tables", Level.PROBLEM, "restore a backup")
def a_view_in_place_of_a_table(installation: Installation) -> str:
    change(
        installation, "DROP TABLE aliases; CREATE VIEW aliases AS SELECT 'a' AS session, 'b' AS agent, 0 AS expires_ms"
    )
    return "aliases"


@condition("state directory", Level.PROBLEM, "chmod o-w ")
def a_directory_above_the_state_that_every_user_can_change(installation: Installation) -> str:
    installation.state_dir.parent.chmod(0o777)
    return "exit code 73"


@condition("socket directory", Level.PROBLEM, "chmod o-w ")
def a_directory_above_the_socket_that_every_user_can_change(installation: Installation) -> tuple[str, Installation]:
    assert installation.address.socket_path
    above = installation.address.socket_path.parent
    below = above / "below"
    below.mkdir(mode=0o700)
    above.chmod(0o777)
    return "exit code 73", replace(installation, address=Address(f"unix:{below}/mailroom.sock"))


@condition("unread messages", Level.WARNING, "raise --max-unread")
def a_mailbox_that_is_nearly_full(installation: Installation) -> str:
    change(installation, "UPDATE mailboxes SET unread = 90000")
    return "bob has 90,000 unread messages of at most 100,000"


@condition("unread messages", Level.PROBLEM, "`mailroom ack bob --all`")
def a_mailbox_that_is_full(installation: Installation) -> tuple[str, Installation]:
    return "more are refused", replace(installation, settings=replace(installation.settings, max_unread=3))


@condition("inbox files", Level.WARNING, "findings about directories")
def messages_whose_files_could_not_be_written(installation: Installation) -> str:
    change(installation, "UPDATE messages SET file_error = 'Permission denied'")
    return "3 messages whose inbox file is not written; the oldest is for bob: Permission denied"


@condition("team entries", Level.WARNING, "findings about team inboxes")
def a_message_whose_team_entry_could_not_be_written(installation: Installation) -> str:
    change(installation, "UPDATE messages SET team_error = 'unknown format' WHERE id = (SELECT max(id) FROM messages)")
    return "1 message whose entry in the team inbox is not written"


@condition("root directory", Level.WARNING, "--root")
def another_directory_of_claude_code(installation: Installation) -> str:
    os.environ["CLAUDE_CONFIG_DIR"] = str(installation.state_dir)
    return f"CLAUDE_CONFIG_DIR is {installation.state_dir}"


@condition("root directory", Level.WARNING, "MAILROOM_ROOT")
def another_root_than_the_one_of_the_daemon_that_stopped(installation: Installation) -> str:
    installation.inbox.rename(installation.root / "elsewhere")
    return "does not exist"


@condition("TLS", Level.PROBLEM, "--tls-cert")
def a_certificate_that_is_missing(installation: Installation) -> tuple[str, Installation]:
    path = installation.root / "server.pem"
    settings = replace(installation.settings, tls_cert=path, tls_key=path)
    return f"cannot read {path}", replace(installation, settings=settings)


# -- the tests ------------------------------------------------------------------------------------------------------


def test_a_sound_installation_has_no_findings(installation: Installation) -> None:
    TokenFile(installation.state_dir).create("bob", SENT_MS)
    put_team_inbox(installation, b'[{"text": "\\ud83d"}]')
    assert found(installation) == []


@pytest.mark.parametrize(
    ("make", "check", "level", "advice"), CONDITIONS, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_doctor_names_the_condition_and_says_what_to_do(
    installation: Installation, make: Condition, check: str, level: Level, advice: str
) -> None:
    made = make(installation)
    words, seen = made if isinstance(made, tuple) else (made, installation)
    findings = [finding for finding in found(seen) if finding.check == check]
    assert [finding.level for finding in findings] == [level]
    assert advice in findings[0].advice
    assert words in findings[0].summary
