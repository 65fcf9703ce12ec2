"""Long mail reaches each model whole, in parts; nothing counts as shown that its model has not seen."""

import json

import pytest
from support.agents.model_server import ModelServer
from support.agents.programs import PROGRAMS
from support.agents.workplace import NewPlace

MESSAGES = 6
CONTENTS = {"CJK": "界" * 5_000, "ASCII": "x" * 9_240}  # six of them were cut, by most programs in the middle


def reading(messages: int, parts: int) -> str:
    """Returns a script that reads messages one by one, each in parts."""
    first = f"@@ tool check_inbox {json.dumps({'new_only': True, 'limit': 1})}"
    rest = '@@ tool check_inbox {"message_id": "$ID", "offset": $OFFSET}'
    return "\n".join([*([first, *[rest] * (parts - 1)] * messages), "@@ say done"])


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("kind", CONTENTS)
def test_six_long_messages_reach_the_model_whole_by_its_tools(
    new_place: NewPlace, models: ModelServer, name: str, kind: str
) -> None:
    place = new_place(name)
    for number in range(MESSAGES):
        place.send(f"[{number}]{CONTENTS[kind]}[/{number}]")
    place.run(*PROGRAMS[name].ask(PROGRAMS[name].reach + reading(MESSAGES, 2)))
    seen = models.requests[-1].text
    for number in range(MESSAGES):
        assert f"[/{number}]" in seen, models.requests[-1].outline
    assert seen.count(CONTENTS[kind][0]) >= MESSAGES * len(CONTENTS[kind])


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_prompt_counts_as_shown_only_what_its_model_has_seen(
    new_place: NewPlace, models: ModelServer, name: str
) -> None:
    """A program that gets more than it passes on cuts the text in the middle."""
    place = new_place(name)
    sent = [place.send(f"[{number}]{text}[/{number}]") for number, text in enumerate(["a" * 5_000, "界" * 1_300] * 2)]
    place.run(*PROGRAMS[name].ask("@@ say hello"))
    seen = models.requests[0].text
    states = [place.state_of(each).value for each in sent]
    assert "offered" in states
    for number, (each, state) in enumerate(zip(sent, states, strict=True)):
        is_whole = each.message.content in seen
        assert is_whole == (state == "offered"), f"message {number}"
