"""What streams and sends see when a real daemon stops."""

import os
import signal
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import connect
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import wait_until


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment() as deployment:
        yield deployment


# -- the end ----------------------------------------------------------------------------------------------------------


def test_a_stopping_daemon_sends_going_away_and_ends_its_streams_cleanly() -> None:
    with running_deployment() as deployment:
        agent = deployment.new_agent()
        streams = [
            deployment.live(all_agents=True, max_batch=1000),
            deployment.live(agent, observe=True),
            deployment.live(agent),
        ]
        resumes_behind = ""
        idle = deployment.live(deployment.new_agent())
        last = deployment.send(agent, "x").message.id
        waits = deployment.new_agent()
        waiting = ThreadPoolExecutor(1).submit(deployment.check, waits, wait_sec=20)
        wait_until(lambda: waits in deployment.all_stats(), "the call waits")
        assert deployment.process is not None
        started = time.monotonic()
        os.kill(deployment.process.pid, signal.SIGTERM)
        for stream in streams:
            message, going_away = stream.rest()
            assert message.message.id == last
            assert going_away.going_away.last_id >= last
            assert going_away.event_id == going_away.going_away.last_id
            resumes_behind = going_away.going_away.last_id
        (good_bye,) = idle.rest()
        assert good_bye.HasField("going_away")
        assert waiting.result().messages == []
        assert deployment.wait_for_end() == 0
        assert time.monotonic() - started < 5

        deployment.start()
        resumed = deployment.subscribe(agent, after_id=resumes_behind)
        assert resumed.until_caught_up()[0] == []
        deployment.send(agent, "after the restart")
        assert resumed.messages(1)[0].content == "after the restart"
        resumed.cancel()


def test_a_stream_that_does_not_read_going_away_does_not_delay_the_stop() -> None:
    with running_deployment() as deployment:
        agent = deployment.new_agent()
        with connect(deployment.target) as stuck:
            stream = stuck.live(agent)
            deployment.fill(agent, 60, "x" * 200_000)
            started = time.monotonic()
            assert deployment.stop() == 0
            assert time.monotonic() - started < 5
            stream.cancel()


def test_a_stop_answers_accepted_sends_and_refuses_later_ones() -> None:
    with running_deployment() as deployment:
        agent = deployment.new_agent()
        answers: list[pb.SendMessageResponse] = []
        refusals: list[Exception] = []

        def send(index: int) -> None:
            with connect(deployment.target) as client:
                while not refusals:
                    try:
                        answers.append(client.send(agent, "x", sender=f"s{index}"))
                    except grpc.RpcError as error:
                        refusals.append(error)

        with ThreadPoolExecutor(4) as threads:
            sending = [threads.submit(send, index) for index in range(4)]
            wait_until(lambda: len(answers) > 50, "sends are under way")
            assert deployment.stop() == 0
            for future in sending:
                future.result()
        assert {getattr(error, "code", lambda: None)() for error in refusals} == {grpc.StatusCode.UNAVAILABLE}
        stored = {f"{row[0]:016x}" for row in deployment.query("SELECT id FROM messages")}
        assert {answer.message.id for answer in answers} <= stored
        assert set(deployment.filed(agent)) == stored
