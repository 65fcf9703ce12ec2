"""A run of `codex exec` ends by itself: what would be queued for it reaches no model, so it has no doorbell."""

from support.agents.model_server import ModelServer
from support.agents.programs import PROGRAMS
from support.agents.sessions import doorbell_files
from support.agents.workplace import NewPlace


def test_a_run_has_no_doorbell_and_later_mail_waits_for_the_next_run(new_place: NewPlace, models: ModelServer) -> None:
    place = new_place("codex")
    place.run(*PROGRAMS["codex"].ask("@@ say hello"))
    assert doorbell_files(place) == []
    sent = place.send("after its end 3a")
    place.run(*PROGRAMS["codex"].ask("@@ say hello again"))
    assert models.requests[-1].text.count("after its end 3a") == 1
    assert place.state_of(sent).value == "offered"
