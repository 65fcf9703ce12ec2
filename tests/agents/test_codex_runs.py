"""A run of `codex exec` ends by itself: what would be queued for it reaches no model, so it has no doorbell."""

import pytest
from support.agents.model_server import ModelServer
from support.agents.programs import PROGRAMS
from support.agents.sessions import doorbell_files
from support.agents.workplace import NewPlace


@pytest.mark.parametrize("is_asked_for", [False, True], ids=["as it is", "MAILROOM_WAKE=always"])
def test_a_run_has_no_doorbell_unless_it_is_asked_for(
    new_place: NewPlace, models: ModelServer, *, is_asked_for: bool
) -> None:
    place = new_place("codex")
    if is_asked_for:  # shows that the test would see one
        place.extra["MAILROOM_WAKE"] = "always"
    place.run(*PROGRAMS["codex"].ask("@@ say hello"))
    assert bool(doorbell_files(place)) == is_asked_for
    sent = place.send("after its end 3a")
    assert place.state_of(sent).value == "filed", "it waits for the next run"
    place.run(*PROGRAMS["codex"].ask("@@ say hello again"))
    assert models.requests[-1].text.count("after its end 3a") == 1
