"""Small parts of the command line that need no process: durations, names, help, usage errors."""

from pathlib import Path

import pytest
import typer
from mailroom.errors import InvalidArgument
from mailroom.messages import Message
from mailroom.states import DeliveryState, Priority
from mailroom_apps import names
from mailroom_apps.cli.app import app
from mailroom_apps.cli.durations import format_age, parse_duration
from mailroom_apps.cli.rendering import render_event, sender_label
from mailroom_apps.names import login_name, near_names
from typer.testing import CliRunner


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("7", 7), ("1.5s", 1.5)],
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 m", "-3s", "5w", "ms", "1e9", "٣s"])
def test_an_invalid_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(text)


def test_ages_are_shown_in_their_largest_unit() -> None:
    assert [format_age(seconds) for seconds in (0, 59, 60, 7200, 200000)] == ["0s", "59s", "1m", "2h", "2d"]


@pytest.mark.parametrize(("verified", "label"), [(True, "eve"), (False, "eve (unverified)")])
def test_every_view_marks_an_unverified_sender(verified: bool, label: str) -> None:
    message = Message(
        id="0198c0ffee000001",
        recipient="bob",
        sender="eve",
        content="x",
        type="text",
        timestamp=None,
        read=False,
        metadata={},
        thread_id=None,
        in_reply_to=None,
        priority=Priority.NORMAL,
        expires_at=None,
        state=DeliveryState.FILED,
        sender_verified=verified,
    )
    assert sender_label(message) == label
    assert f"{label} -> bob" in render_event(message).split("\n")[0]


@pytest.mark.parametrize(("login", "name"), [("ana", "ana"), ("DOM\\ana b", "DOM-ana-b"), (".x", "x"), ("ü", "-")])
def test_the_login_name_becomes_a_valid_name(login: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names.getpass, "getuser", lambda: login)
    assert login_name() == name


def test_a_user_without_an_account_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(names.getpass, "getuser", nobody)
    assert login_name().startswith("uid-")


def test_near_names_are_suggested_but_never_the_name_itself() -> None:
    assert near_names("reviewr", ["reviewr", "reviewer", "zzz"]) == ["reviewer"]


@pytest.mark.parametrize("name", ["send", "inbox", "watch", "ack", "stats", "status"])
def test_help_has_examples(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0
    assert f"mailroom {name}" in shown.output.partition("Examples:")[2]


@pytest.mark.parametrize("words", [[], ["ack"], ["token"], ["token", "create"], ["service", "logs"], ["setup"]])
def test_flags_are_shown_without_a_type(words: list[str]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert "--help" in shown.output
    assert "bool" not in shown.output.lower()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["watch"], "give an agent or --all"),
        (["watch", "abc", "--unread", "--after", "0"], "--unread and --after cannot be combined"),
        (["watch", "--all", "--unread"], "--all and --unread cannot be combined"),
        (["watch", "abc", "--all"], "AGENT and --all cannot be combined"),
        (["watch", "abc", "--recipts"], "No such option"),
        (["send", "abc"], "nothing to send"),
        (["send", "abc", "- item"], "Put -- before text that starts with a dash: mailroom send … -- '- text'"),
        (["search", "-5"], "Put -- before text that starts with a dash"),
        (["broadcast", "-x", "bob"], "Put -- before text that starts with a dash"),
        (["reply", "0198c0ffee000001", "-x"], "Put -- before text that starts with a dash"),
        (["ack", "abc"], "give message ids or --all"),
        (["send", "abc", "go", "--ttl", "soon"], "is not a duration"),
        (["send", "abc", "go", "--metadata", "[]"], "JSON object"),
        (["send", "abc", "go", "--priority", "asap"], "urgent"),
    ],
)
def test_usage_errors_say_what_is_expected(arguments: list[str], hint: str) -> None:
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 2
    assert hint in " ".join(shown.output.replace("\u2502", " ").split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["ack", "", "--all"],
        ["alias", "", "s1"],
        ["alias", "bob", ""],
        ["broadcast", "go", "bob", ""],
        ["clear", "", "--yes"],
        ["doorbell", ""],
        ["export", ""],
        ["export", "bob", ""],
        ["hook", "--agent", ""],
        ["inbox", ""],
        ["list", ""],
        ["mcp", "--agent", ""],
        ["queues", ""],
        ["receipts", ""],
        ["search", "x", "--agent", ""],
        ["send", "", "go"],
        ["stats", ""],
        ["token", "create", "--agent", ""],
        ["wait", ""],
        ["watch", ""],
    ],
)
def test_an_empty_agent_name_is_a_usage_error_and_never_means_every_agent(arguments: list[str]) -> None:
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 2
    assert "the agent's name is empty" in " ".join(shown.output.replace("\u2502", " ").split())


@pytest.mark.parametrize("arguments", [["send", "bob", "go"], ["broadcast", "go", "bob"], ["reply", "00", "x"]])
def test_an_empty_mailroom_agent_is_refused(arguments: list[str], tmp_path: Path) -> None:
    environment = {"MAILROOM_AGENT": "", "MAILROOM_ADDRESS": f"unix:{tmp_path}/none.sock"}
    shown = CliRunner().invoke(app, arguments, env=environment)
    assert isinstance(shown.exception, InvalidArgument)
    assert shown.exception.message.startswith("MAILROOM_AGENT is empty")


def test_an_mcp_server_refuses_an_empty_mailroom_agent() -> None:
    shown = CliRunner().invoke(app, ["mcp"], env={"MAILROOM_AGENT": ""})
    assert shown.exit_code == 2
    assert "to serve all agents, set neither" in " ".join(shown.output.replace("\u2502", " ").split())


def test_the_help_of_ttl_explains_expiry() -> None:
    shown = CliRunner().invoke(app, ["send", "--help"])
    text = " ".join(shown.output.replace("\u2502", " ").split())
    assert "If unread by then, the message expires" in text
