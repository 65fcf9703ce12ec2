"""An input that raises what nobody expected is set aside; everything else goes on, and no worker dies of it."""

import json
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.poisoned_worker import POISON
from support.harness.client import refusal_of, send_request
from support.harness.deployment import Deployment, new_deployment
from support.harness.waiting import wait_until

_TESTS = Path(__file__).parents[1]


@contextmanager
def poisoned_deployment() -> Generator[Deployment]:
    with new_deployment("--max-restarts", "2/60", environment={"PYTHONPATH": str(_TESTS)}) as deployment:
        deployment.daemon.program = (
            *deployment.daemon.program[:-1],
            sys.executable,
            "-m",
            "support.faults.poisoned_daemon",
        )
        deployment.start()
        yield deployment
        assert [worker.restarts for worker in deployment.status().workers] == [0] * len(deployment.status().workers), (
            deployment.log()
        )


def leave(deployment: Deployment, name: str, **body: object) -> Path:
    place = deployment.root / "outbox" / "s1"
    place.mkdir(parents=True, exist_ok=True)
    (place / ".aside").write_text(json.dumps(body))
    return (place / ".aside").rename(place / name)


@pytest.mark.parametrize("kind", ["value", "row"])
def test_a_message_that_cannot_be_stored_is_refused_alone(kind: str) -> None:
    with poisoned_deployment() as deployment:
        contents = [f"{POISON} {kind}" if number % 50 == 7 else f"good {number}" for number in range(500)]
        results = deployment.send_many(send_request("bob", content) for content in contents)
        ids = [result.ok.message.id for result in results if result.HasField("ok")]
        refused = [str(result.error) for result in results if not result.HasField("ok")]
        assert len(refused) == 10
        assert all("INTERNAL" in error and "see the daemon" in error for error in refused), refused[0]
        found = deployment.check("bob", limit=1000).messages
        assert [message.id for message in found] == ids, "each once"
        assert [message.content for message in found] == [one for one in contents if not one.startswith(POISON)]
        assert deployment.filed("bob") == ids
        assert deployment.stats("bob").unread == len(ids)

        def send_both(number: int) -> str:
            assert refusal_of(lambda: deployment.send("bob", f"{POISON} {kind}")).code is grpc.StatusCode.INTERNAL
            return str(deployment.send("amy", str(number)).message.id)

        with ThreadPoolExecutor(8) as pool:
            later = list(pool.map(send_both, range(40)))
        assert deployment.filed("amy") == sorted(later)
        deployment.stop()
        deployment.start()
        assert [message.id for message in deployment.check("bob", limit=1000).messages] == ids
        assert deployment.log().count("Traceback") <= 2, "one traceback of each kind and process"


@pytest.mark.parametrize("poison", [{"content": f"{POISON} record"}, {"idempotency_key": f"{POISON} command"}])
def test_a_message_that_the_mailbox_cannot_process_is_refused_alone(poison: dict[str, Any]) -> None:
    with poisoned_deployment() as deployment:
        before = deployment.send("bob", "before").message.id
        with ThreadPoolExecutor(8) as pool:
            bad = [pool.submit(refusal_of, lambda: deployment.send("bob", **poison)) for _ in range(20)]
            good = [pool.submit(deployment.send, "bob", str(number)) for number in range(20)]
        assert {(one.result().code, one.result().reason) for one in bad} == {(grpc.StatusCode.INTERNAL, "INTERNAL")}
        ids = sorted([before, *(one.result().message.id for one in good)])
        assert [message.id for message in deployment.check("bob", limit=1000).messages] == ids
        assert deployment.filed("bob") == ids
        assert deployment.stats("bob").unread == len(ids)
        assert deployment.log().count("Traceback") == 5, "of the failures 1, 2, 4, 8 and 16"


def test_a_message_whose_file_cannot_be_made_is_stored_and_the_others_are_filed() -> None:
    with poisoned_deployment() as deployment:
        results = deployment.send_many(send_request("bob", content) for content in ("one", f"{POISON} file", "two"))
        one, odd, two = [result.ok.message.id for result in results]
        assert deployment.filed("bob") == [one, two]
        assert deployment.state(odd) == pb.DELIVERY_STATE_STORED
        assert [message.id for message in deployment.check("bob").messages] == [one, odd, two]
        assert deployment.acknowledge("bob", [odd]).acknowledged_ids == [odd]


def test_an_acknowledgement_that_cannot_be_executed_is_refused_alone() -> None:
    with poisoned_deployment() as deployment:
        (odd,) = deployment.fill(f"{POISON}ed", 1)
        (good,) = deployment.fill("bob", 1)
        assert refusal_of(lambda: deployment.acknowledge(f"{POISON}ed", [odd])).reason == "INTERNAL"
        assert deployment.acknowledge("bob", [good]).acknowledged_ids == [good]
        assert deployment.filed(f"{POISON}ed") == [odd]


def test_a_response_that_cannot_be_stored_or_read_stays_and_the_others_are_announced() -> None:
    with poisoned_deployment() as deployment:
        stream = deployment.live("s1")
        odd = leave(deployment, f"{POISON}.json", n=0)
        unreadable = leave(deployment, f"unreadable-{POISON}.json", n=0)
        good = [leave(deployment, f"{number}.json", n=number) for number in range(5)]
        wait_until(lambda: not any(path.exists() for path in good), "the others are stored")
        wait_until(lambda: "local event set aside" in deployment.log(), "its attempts are over")
        wait_until(lambda: "outbox file set aside" in deployment.log(), "the other is not read again")
        assert odd.exists()
        assert unreadable.exists()
        stream.cancel()
        last = leave(deployment, "last.json", n=9)
        wait_until(lambda: not last.exists(), "later responses are stored, too")


def test_a_taken_file_that_cannot_be_recorded_holds_up_no_other() -> None:
    with poisoned_deployment() as deployment:
        (odd,) = deployment.fill(f"{POISON}ed", 1)
        good = deployment.fill("bob", 3)
        deployment.file_of(f"{POISON}ed", odd).unlink()
        for one in good:
            deployment.file_of("bob", one).unlink()
        wait_until(lambda: deployment.stats("bob").unread == 0, "the others are read")
        wait_until(lambda: "local event set aside" in deployment.log(), "its attempts are over")
        assert deployment.stats(f"{POISON}ed").unread == 1
        deployment.stop()
        deployment.start()
        assert deployment.send("bob").message.id
