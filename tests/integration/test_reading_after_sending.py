"""A sender can read what it was told of, however long the mailbox takes to make it visible."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from support.harness.deployment import running_deployment
from support.harness.waiting import pause, wait_until

STANDSTILL_SEC = 0.5  # of the mailbox; a reader waits for two seconds


def test_a_reader_waits_for_a_message_whose_sender_was_answered() -> None:
    with running_deployment("--stuck-after", "60") as deployment, ThreadPoolExecutor() as threads:
        agent = deployment.new_agent()
        mailbox, command_queue = deployment.pid_of("mailbox"), deployment.pid_of("command-queue")
        with ExitStack() as standstill:
            with deployment.stopped(command_queue):
                sending = threads.submit(deployment.send, agent, "x")
                wait_until(lambda: deployment.metric("mailroom_orders_pending") == 1, "the mailbox has passed it on")
                standstill.enter_context(deployment.stopped(mailbox))
            sent = sending.result().message  # the command-queue answers by itself
            reading = threads.submit(deployment.check, agent)
            pause(STANDSTILL_SEC)
            assert not reading.done()
        assert [message.id for message in reading.result().messages] == [sent.id]
