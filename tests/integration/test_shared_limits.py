"""A client that uses a shared limit as far as it can does not stop another one, with a real daemon."""

from collections.abc import Generator

import grpc
import pytest
from support.harness.client import refusal_of, send_request
from support.harness.deployment import Deployment, running_deployment


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment("--max-unread", "40") as running:
        yield running


def test_a_mailbox_that_one_sender_floods_still_accepts_mail_of_another(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    results = deployment.send_many([send_request(agent, "x", sender="eve") for _ in range(60)])
    assert [result.WhichOneof("result") for result in results].count("ok") == 38
    refusal = refusal_of(lambda: deployment.send(agent, "x", sender="eve"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MAILBOX_FULL")
    assert "reserved for other senders" in refusal.sentence
    assert deployment.send(agent, "urgent", sender="boss").message.id
    assert deployment.stats(agent).unread == 39
