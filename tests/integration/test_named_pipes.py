"""A named pipe where a file is expected is refused with a sentence; no program waits for its writer."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroom import Mailroom, MailroomError
from mailroomd.auth.token_file import TokenFile
from mailroomd.model.clock import now_ms
from support.harness.daemon import short_directory
from support.harness.deployment import new_deployment
from support.harness.waiting import BOUND_SEC

BIN = Path(sys.executable).parent
TLS = ("--listen", "127.0.0.1:0", "--tls-cert", "{pipe}", "--tls-key", "{pipe}")


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        (path / "state").mkdir(mode=0o700)
        os.mkfifo(path / "pipe", 0o600)
        yield path


def run(directory: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a program that has to end by itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    places = {"MAILROOM_ROOT": f"{directory}/root", "MAILROOM_STATE_DIR": f"{directory}/state"}
    program, *arguments = (part.format(pipe=directory / "pipe") for part in command)
    return subprocess.run(
        [str(BIN / program), *arguments],
        env=kept | places | {"HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("mailroomd", *TLS), 78),
        (("mailroomd", "--config", "{pipe}", "--check-config"), 64),
        (("mailroom", "restore", "{pipe}", "--yes"), 1),
    ],
    ids=["TLS", "configuration", "backup"],
)
def test_a_pipe_is_refused_by_name(directory: Path, command: tuple[str, ...], code: int) -> None:
    run(directory, "mailroom", "token", "create", "--agent", "bob")
    done = run(directory, *command)
    assert done.returncode == code, done.stderr
    assert str(directory / "pipe") in done.stderr
    assert "not a regular file" in done.stderr.lower()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("token", "list"), ("doctor",)], ids=" ".join)
def test_a_pipe_in_place_of_the_tokens_is_reported(directory: Path, command: tuple[str, ...]) -> None:
    (directory / "pipe").rename(directory / "state" / "tokens.json")
    done = run(directory, "mailroom", *command)
    assert done.returncode == 1
    assert "tokens.json cannot be read: Not a regular file" in " ".join((done.stdout + done.stderr).split())


def test_a_gateway_serves_its_owner_beside_a_pipe_in_place_of_the_tokens() -> None:
    with new_deployment("--listen", "127.0.0.1:0") as deployment:
        token, _ = TokenFile(deployment.state_dir).create("bob", now_ms())
        deployment.start()
        (deployment.state_dir / "tokens.json").unlink()
        os.mkfifo(deployment.state_dir / "tokens.json", 0o600)
        tcp = next(address for address in deployment.addresses if not address.startswith("unix:"))
        with Mailroom(tcp, sender="bob", token=token, timeout=2.0) as bob, pytest.raises(MailroomError) as refusal:
            bob.send("bob", "hello")
        assert refusal.value.reason == "STORAGE_FAILED"
        sent = deployment.send("bob", "hello").message.id
        assert [message.id for message in deployment.check("bob").messages] == [sent]
        assert deployment.stop(signal.SIGTERM) == 0
