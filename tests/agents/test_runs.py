"""A run that ends by itself has no doorbell: it would wait for it, or what wakes it would reach no model."""

import pytest
from support.agents.model_server import ModelServer
from support.agents.programs import PROGRAMS
from support.agents.sessions import doorbell_files, times_shown
from support.agents.workplace import NewPlace


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run_has_no_doorbell_and_later_mail_waits_for_the_next_run(
    new_place: NewPlace, models: ModelServer, name: str
) -> None:
    place = new_place(name)
    place.run(*PROGRAMS[name].ask("@@ say hello"))
    assert doorbell_files(place) == []
    sent = place.send("after its end 3a")
    place.run(*PROGRAMS[name].ask("@@ say hello again"))
    assert times_shown(models.requests, "after its end 3a") == 1
    assert place.state_of(sent).value == "offered"
