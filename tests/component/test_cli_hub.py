"""`mailroom hub` writes what a hub and its hosts need, for their owners only, and says what is wrong."""

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from mailroomd.core.host_directory import DIRECTORY_NAME, HostRecord, HostsFile
from mailroomd.model.clock import now_ms
from mailroomd.relay.hub_file import HubFileUnusable, read_hub_file
from support.harness.command_line import command, environment

SERVER = "nats://hub.example:4222"


class Done(NamedTuple):
    """What a run left."""

    returncode: int
    stdout: str
    stderr: str


def run_cli(*arguments: str, extra: dict[str, str] | None = None, cwd: Path | None = None) -> Done:
    """Runs `mailroom` without a daemon."""
    done = subprocess.run(
        command(*arguments),
        env=environment("unix:/nowhere", extra),
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def init(tmp_path: Path, *hosts: str) -> Path:
    names = [option for host in hosts for option in ("--host", host)]
    done = run_cli("hub", "init", str(tmp_path / "hub"), "--server", SERVER, *names)
    assert done.returncode == 0, done.stderr
    return tmp_path / "hub"


def join(tmp_path: Path, host: str) -> Path:
    state = tmp_path / host
    done = run_cli("hub", "join", str(tmp_path / "hub" / f"{host}.invitation"), "--state-dir", str(state))
    assert done.returncode == 0, done.stderr
    return state


def test_a_host_joins_with_a_key_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    hub = init(tmp_path, "a", "b")
    first = read_hub_file(join(tmp_path, "a") / "hub.json")
    assert (first.host, first.servers) == ("a", [SERVER])
    assert read_hub_file(join(tmp_path, "a") / "hub.json") == first
    assert read_hub_file(join(tmp_path, "b") / "hub.json").secret != first.secret
    assert all(path.stat().st_mode & 0o077 == 0 for path in hub.iterdir())


def test_a_further_host_leaves_the_others_their_passwords(tmp_path: Path) -> None:
    hub = init(tmp_path, "a")
    before = (hub / "a.invitation").read_text()
    config = (hub / "nats-server.conf").read_text()
    done = run_cli("hub", "init", str(hub), "--host", "b")
    assert done.returncode == 0, done.stderr
    assert (hub / "a.invitation").read_text() == before
    assert 'user: "b"' not in config
    assert 'user: "b"' in (hub / "nats-server.conf").read_text()
    done = run_cli("hub", "remove", str(hub), "b")
    assert done.returncode == 0
    assert (hub / "nats-server.conf").read_text() == config


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("init", "hub", "--host", "Build"), "'Build' is not a valid host"),
        (("init", "hub", "--host", "a"), "a new hub needs the address"),
        (("join", "missing"), "missing: No such file or directory"),
        (("hosts", "--state-dir", "none"), "has not joined a hub"),
        (("trust", "b", "--state-dir", "none"), "no key of b is known"),
        (("remove", "hub", "a"), "there is no hub in"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = run_cli("hub", *arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert complaint in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_hosts_and_agents_of_the_hub_are_listed(tmp_path: Path) -> None:
    hosts = {"b": HostRecord(now_ms(), ["bob"]), "c": HostRecord(0, [], "KEY_CHANGED: …")}
    content = HostsFile("a", now_ms(), is_connected=True, hosts=hosts)
    (tmp_path / DIRECTORY_NAME).write_bytes(msgspec.json.encode(content))
    done = run_cli("hub", "hosts", "--json", "--state-dir", str(tmp_path))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["host"], row["agents"], row["problem"]) for row in rows] == [
        ("b", ["bob"], None),
        ("c", [], "KEY_CHANGED: …"),
    ]
    done = run_cli("agents", "--hub", "--json", extra={"MAILROOM_STATE_DIR": str(tmp_path)})
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["bob:b"]


def test_the_doctor_of_a_hub_names_what_is_missing(tmp_path: Path) -> None:
    init(tmp_path, "a")
    done = run_cli("hub", "doctor", "--state-dir", str(tmp_path / "a"))
    assert (done.returncode, "mailroom hub join" in done.stdout) == (1, True)
    state = join(tmp_path, "a")
    assert "has not run with --hub" in run_cli("hub", "doctor", "--state-dir", str(state)).stdout
    content = HostsFile("a", now_ms(), is_connected=True, hosts={"b": HostRecord(now_ms())})
    (state / DIRECTORY_NAME).write_bytes(msgspec.json.encode(content))
    done = run_cli("hub", "doctor", "--state-dir", str(state))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"host": "A"}, "names the host 'A'"),
        ({"secret": "short"}, "cannot be used|no usable key"),
        ({"servers": []}, "no usable key, server or shard"),
    ],
)
def test_a_hub_file_that_cannot_be_used_is_refused(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    init(tmp_path, "a")
    path = join(tmp_path, "a") / "hub.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(HubFileUnusable, match=complaint):
        read_hub_file(path)
    path.chmod(0o644)
    with pytest.raises(HubFileUnusable, match="chmod 600"):
        read_hub_file(path)
