"""No text of another agent reaches the shell through completion, except harmless characters."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailroom.messages import Message
from mailroom.states import DeliveryState, Priority
from mailroom_apps.cli import completion
from mailroom_apps.cli.completion import complete_agent, suggest_messages

ID = "0198c0ffee000001"
HOSTILE = [
    "\\$(touch owned)",
    "\\'$(touch owned)",
    "`touch owned`",
    "$(touch owned)",
    "'; touch owned; '",
    '"; touch owned; "',
    ")) ; touch owned ; ((",
    "[/x] [bold]markup[/bold]",
    "\x1b]0;title\x07\x1b[2J",
    "\u202eexe.txt",
    "a\nb\tc:::d",
    "${(e)x} =ls ~root *(e:touch:)",
]


def message(content: str, sender: str = "eve", message_id: str = ID) -> Message:
    return Message(
        id=message_id,
        recipient="bob",
        sender=sender,
        content=content,
        type="text",
        timestamp=datetime.now(UTC),
        read=False,
        metadata={},
        thread_id=None,
        in_reply_to=None,
        priority=Priority.NORMAL,
        expires_at=None,
        state=DeliveryState.FILED,
        sender_verified=False,
    )


@pytest.mark.parametrize("content", HOSTILE)
def test_hostile_content_is_reduced_to_harmless_characters(content: str) -> None:
    [(message_id, description)] = suggest_messages([message(content)], "01")
    assert message_id == ID
    assert re.fullmatch(r"[A-Za-z0-9 .,_-]*", description)
    assert description.startswith("eve, ")


@given(st.text(), st.text(min_size=1))
def test_no_text_gives_an_unsafe_description(content: str, sender: str) -> None:
    for _, description in suggest_messages([message(content, sender)], ""):
        assert re.fullmatch(r"[A-Za-z0-9 .,_-]{0,60}", description)


@pytest.mark.parametrize("message_id", ["$(touch owned)", "0198C0FFEE000001", "0198c0ffee00000", f"{ID}\n", ""])
def test_an_id_of_another_form_is_not_offered(message_id: str) -> None:
    assert suggest_messages([message("x", message_id=message_id)], "") == []


def test_agent_names_of_another_form_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def stats(self) -> list[object]:
            names = ["bob", "bob@team", "bob$(touch owned)", "bob'", "-bob", "b ob", "b:ob", "b\\ob"]
            return [type("Stats", (), {"agent_id": name}) for name in names]

    def connect(**_options: object) -> Client:
        return Client()

    monkeypatch.setattr(completion, "connect", connect)
    assert complete_agent("") == ["bob", "bob@team"]
