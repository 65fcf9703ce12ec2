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

SERVER = "nats://127.0.0.1:1"  # nobody listens there


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
    done = run_cli("hub", "remove", str(hub), "b", "--wait", "0s")
    assert done.returncode != 0
    assert "b is not removed yet: nats://127.0.0.1:1 does not answer" in " ".join(done.stderr.split())
    assert (hub / "nats-server.conf").read_text() == config
    done = run_cli("hub", "init", str(hub), "--host", "b")
    assert "b was removed from this hub, whose servers have to run" in " ".join(done.stderr.split())
    assert 'user: "b"' not in (hub / "nats-server.conf").read_text()


def test_a_cluster_has_one_configuration_for_each_server(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    done = run_cli("hub", "init", str(hub), "--server", "nats://h1,h2:5222", "--server", "h3", "--host", "a")
    assert done.returncode == 0, done.stderr
    configs = [(hub / f"nats-server-{number}.conf").read_text() for number in (1, 2, 3)]
    assert "listen: 0.0.0.0:4222" in configs[0]
    assert "listen: 0.0.0.0:5222" in configs[1]
    assert "server_name: hub-3" in configs[2]
    for number, address in enumerate(("@h1:6222", "@h2:7222", "@h3:6222")):
        assert [address in config for config in configs] == [other != number for other in range(3)]
    secrets = {config.partition("cluster:")[2].partition("@")[0] for config in configs}
    assert len(secrets) == 1
    hub_file = read_hub_file(join(tmp_path, "a") / "hub.json")
    assert hub_file.servers == ["nats://h1:4222", "nats://h2:5222", "nats://h3:4222"]


def test_a_host_can_reach_the_hub_at_other_addresses(tmp_path: Path) -> None:
    init(tmp_path, "a")
    arguments = ("hub", "join", str(tmp_path / "hub" / "a.invitation"), "--state-dir", str(tmp_path / "a"), "--server")
    assert run_cli(*arguments, "tls://10.0.0.1,10.0.0.2:1").returncode == 0
    assert read_hub_file(tmp_path / "a" / "hub.json").servers == ["tls://10.0.0.1:4222", "tls://10.0.0.2:1"]
    done = run_cli(*arguments, "http://h1")
    assert done.returncode != 0
    assert "is not the address of a server" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("init", "hub", "--host", "Build"), "'Build' is not a valid host"),
        (("init", "hub", "--host", "a"), "a new hub needs the address"),
        (("join", "missing"), "missing: No such file or directory"),
        (("hosts", "--state-dir", "none"), "has not joined a hub"),
        (("trust", "b", "--state-dir", "none"), "no key of b is known"),
        (("remove", "hub", "a"), "there is no hub in"),
        (("spread", "hub"), "there is no hub in"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = run_cli("hub", *arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert complaint in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_hosts_and_agents_of_the_hub_are_listed(tmp_path: Path) -> None:
    hosts = {"b": HostRecord(now_ms(), ["bob"], waiting=1234), "c": HostRecord(0, [], "KEY_CHANGED: …")}
    content = HostsFile("a", now_ms(), is_connected=True, hosts=hosts)
    (tmp_path / DIRECTORY_NAME).write_bytes(msgspec.json.encode(content))
    done = run_cli("hub", "hosts", "--json", "--state-dir", str(tmp_path))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert "1,234" in run_cli("hub", "hosts", "--state-dir", str(tmp_path)).stdout
    assert [row["waiting"] for row in rows] == [1234, 0]
    assert [(row["host"], row["agents"], row["problem"]) for row in rows] == [
        ("b", ["bob"], None),
        ("c", [], "KEY_CHANGED: …"),
    ]


def test_the_doctor_of_a_hub_names_what_is_missing(tmp_path: Path) -> None:
    init(tmp_path, "a")
    done = run_cli("hub", "doctor", "--state-dir", str(tmp_path / "a"))
    assert (done.returncode, "mailroom hub join" in done.stdout) == (1, True)
    state = join(tmp_path, "a")
    assert "has not run with --hub" in run_cli("hub", "doctor", "--state-dir", str(state)).stdout
    content = HostsFile("a", now_ms(), is_connected=True, hosts={"b": HostRecord(now_ms(), behind_ms=-59_000)})
    (state / DIRECTORY_NAME).write_bytes(msgspec.json.encode(content))
    done = run_cli("hub", "doctor", "--state-dir", str(state))
    assert done.returncode == 0, done.stdout
    ahead = {"b": HostRecord(now_ms(), behind_ms=-61_000)}
    wrong = HostsFile("a", now_ms(), is_connected=True, hosts=ahead, behind_ms=3_600_000, unmatched_rules=["bild7"])
    (state / DIRECTORY_NAME).write_bytes(msgspec.json.encode(wrong))
    done = run_cli("hub", "doctor", "--state-dir", str(state))
    assert done.returncode == 1
    assert "clock: the clock of this host is 3,600 s behind the hub's" in done.stdout
    assert "rules: bild7 of --hub-accept or --hub-deny: no such host was seen" in done.stdout
    assert "host b: the clock of b is 61 s ahead of the hub's" in done.stdout


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
