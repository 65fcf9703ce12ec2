"""`mailroom token` on a real state directory, and clients of a real daemon with the tokens it made."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
from mailroom import AsyncMailroom, Mailroom, PermissionDenied, Unauthenticated
from support.harness.deployment import Deployment, new_deployment

TOKEN = re.compile(r"mr_([0-9a-f]{8})_[A-Za-z0-9_-]{43}\n")


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    """A daemon on TCP, started with the first token that the command line made."""
    with new_deployment("--listen", "127.0.0.1:0") as deployment:
        assert (
            token(
                deployment.state_dir, "create", "--agent", "bob", "--save", str(deployment.directory / "bob")
            ).returncode
            == 0
        )
        deployment.start()
        yield deployment


def tcp_of(deployment: Deployment) -> str:
    return next(address for address in deployment.addresses if not address.startswith("unix:"))


def cli(*arguments: str, extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-m", "mailroom_apps", *arguments],
        env=environment | {"TERM": "dumb", "COLUMNS": "200"} | dict(extra or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def token(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cli("token", *arguments, "--state-dir", str(state_dir))


def test_a_token_is_shown_once_and_alone_on_stdout(tmp_path: Path) -> None:
    made = token(tmp_path / "state", "create", "--agent", "bob", "--ttl", "30d")
    assert (match := TOKEN.fullmatch(made.stdout))
    assert f"token {match[1]} for agent bob, expires: 20" in made.stderr
    assert made.stdout.strip() not in made.stderr
    listed = token(tmp_path / "state", "list")
    assert listed.stdout.splitlines()[1].startswith(f"{match[1]}  agent bob")
    assert made.stdout.strip() not in listed.stdout
    assert made.stdout.strip() not in (tmp_path / "state" / "tokens.json").read_text()


def test_tokens_are_listed_as_json_and_revoked_by_id(tmp_path: Path) -> None:
    made = [
        json.loads(token(tmp_path, "create", *whose, "--json").stdout) for whose in (["--agent", "bob"], ["--admin"])
    ]
    assert [(one["agent"], one["admin"]) for one in made] == [("bob", False), (None, True)]
    for one in made:
        assert TOKEN.fullmatch(one.pop("token") + "\n")
    assert list(map(json.loads, token(tmp_path, "list", "--json").stdout.splitlines())) == made
    done = token(tmp_path, "revoke", made[0]["id"], "00000000")
    assert (done.returncode, done.stdout) == (1, f"{made[0]['id']}\n")
    assert "no such token: 00000000" in done.stderr
    assert list(map(json.loads, token(tmp_path, "list", "--json").stdout.splitlines())) == made[1:]


def test_a_saved_token_is_in_a_private_new_file(tmp_path: Path) -> None:
    file = tmp_path / "bob.token"
    done = token(tmp_path, "create", "--agent", "bob", "--save", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert TOKEN.fullmatch(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    again = token(tmp_path, "create", "--agent", "bob", "--save", str(file))
    assert (again.returncode, "File exists" in again.stderr) == (1, True)
    assert file.read_text() == before
    assert len(token(tmp_path, "list").stdout.splitlines()) == 2  # a token that nobody ever saw is not kept


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["create"], 2, "give --agent NAME for an agent's token, or --admin"),
        (["create", "--agent", "bob", "--admin"], 2, "give --agent NAME for an agent's token, or --admin"),
        (["create", "--agent", "../bob"], 2, "'../bob' is not a valid name"),
        (["create", "--agent", ""], 2, "the agent's name is empty"),
        (["create", "--admin", "--ttl", "soon"], 2, "is not a duration"),
        (["create", "--admin", "--ttl", "0"], 2, "must be more than 0"),
        (["list"], 0, "create one with `mailroom token create`"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    done = token(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "tokens.json").exists()


def test_a_damaged_file_is_told_of_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("{}")
    (tmp_path / "tokens.json").chmod(0o600)
    done = token(tmp_path, "create", "--admin")
    assert (done.returncode, "is damaged" in done.stderr) == (1, True)
    assert (tmp_path / "tokens.json").read_text() == "{}"


def test_the_command_line_takes_tokens_from_file_and_environment_not_as_arguments(
    deployment: Deployment,
) -> None:
    at, file = ("--address", tcp_of(deployment)), deployment.directory / "bob"
    assert cli(*at, "inbox", "bob").returncode == 1
    assert cli(*at, "--token-file", str(file), "inbox", "bob").returncode == 0
    assert cli(*at, "inbox", "bob", extra={"MAILROOM_TOKEN_FILE": str(file)}).returncode == 0
    assert cli(*at, "inbox", "bob", extra={"MAILROOM_TOKEN": file.read_text().strip()}).returncode == 0
    foreign = cli(*at, "--token-file", str(file), "inbox", "carol")
    assert (
        foreign.returncode,
        foreign.stderr.startswith("mailroom: agent: this token is for bob, not for carol"),
    ) == (
        1,
        True,
    )
    assert "--token " not in cli("--help").stdout


def test_both_clients_show_their_token_with_every_kind_of_call(deployment: Deployment) -> None:
    address, file = tcp_of(deployment), deployment.directory / "bob"

    async def as_bob() -> list[str]:
        async with AsyncMailroom(address, sender="bob", token_file=file) as bob:
            sent = await bob.send("bob", "to myself")
            assert sent.message.sender_verified
            with pytest.raises(PermissionDenied, match="for bob, not for carol"):
                await bob.check_inbox("carol")
            stream = bob.subscribe("bob", include_unread=True, observe=True)
            return [(await anext(aiter(stream))).event_id, sent.id]

    assert len(set(asyncio.run(as_bob()))) == 1
    with Mailroom(address, sender="bob", token_file=file) as bob, bob.subscribe("bob", include_unread=True) as stream:
        assert next(iter(stream)).event_id
        assert bob.health() == "serving"
    with Mailroom(address, sender="bob") as nobody, pytest.raises(Unauthenticated, match="MAILROOM_TOKEN_FILE"):
        nobody.check_inbox("bob")
