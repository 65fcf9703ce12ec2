"""The planner asks for a build, waits for the answer, wakes the porter, and sees that its message was read."""

import asyncio

from agent_tools import say, tools_of

MAX_CHECKS = 300  # of the message's status, 0.1 s apart


async def main() -> None:
    """Runs the planner."""
    async with tools_of("planner") as tools:
        await tools.call("send_message", to_session_id="builder", content="build it", thread_id="release-7")
        answer = await tools.next_message()
        say(
            "planner",
            f"received an answer from {answer['sender']} in thread {answer['thread_id']}: {answer['content']}",
        )
        await tools.call("acknowledge_message", message_id=answer["id"])
        sent = await tools.call(
            "send_message", to_session_id="porter", content="it is built: lock the doors", priority="urgent"
        )
        for _ in range(MAX_CHECKS):
            status = await tools.call("message_status", message_id=sent["id"])
            if status["state"] == "read":
                say("planner", f"sees that the porter read it: {[step['state'] for step in status['history']]}")
                return
            await asyncio.sleep(0.1)
        raise TimeoutError("the porter did not read its message")


if __name__ == "__main__":
    asyncio.run(main())
