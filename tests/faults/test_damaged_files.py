"""Damaged files: flipped bits, torn ends, nonsense. Each is reported, and the rest goes on.

Each kind is repeated MAILROOM_TEST_ROUNDS times (2 by default); MAILROOM_TEST_SEED reproduces a run.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from mailroomd.model.ids import parse_id
from support.harness.command_line import home
from support.harness.daemon import MAILROOMD
from support.harness.deployment import Deployment, new_deployment, running_deployment
from support.harness.waiting import chance, rounds, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

MESSAGES = 120
DOCTOR = Path(sys.executable).with_name("mailroom")
CONTENT = "number {} " + "x" * 200


@dataclass
class Origin:
    """A daemon's directory after a clean stop, to be copied, and the ids of its unread messages."""

    directory: Path
    ids: list[str]

    def lay_out(self, deployment: Deployment) -> Path:
        """Copies it into the directories of a deployment; returns the database."""
        for name in ("root", "state"):
            shutil.copytree(self.directory / name, deployment.directory / name)
        return deployment.state_dir / "mailroom.db"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    kept = tmp_path_factory.mktemp("origin")
    with running_deployment() as deployment:
        ids = deployment.fill("abc", MESSAGES, CONTENT)
        deployment.acknowledge("abc", ids[:20])
        deployment.stop()
        for name in ("root", "state"):
            shutil.copytree(deployment.directory / name, kept / name)
    return Origin(kept, ids[20:])


def flip_bits(path: Path, number: int, random_numbers: random.Random) -> None:
    raw = bytearray(path.read_bytes())
    for _ in range(number):
        raw[random_numbers.randrange(len(raw))] ^= 1 << random_numbers.randrange(8)
    path.write_bytes(raw)


def starts(deployment: Deployment) -> bool:
    """Starts the daemon; returns whether it serves. If not, it has said why in a sentence, and given up."""
    with suppress(AssertionError):
        deployment.start()
        return True
    assert deployment.wait_for_end() == os.EX_CONFIG, deployment.log()
    said = deployment.log().splitlines()[-1]
    assert "mailroom.db is corrupted" in said, said
    assert "`mailroom doctor`" in said
    assert "Traceback" not in deployment.log()
    return False


def answers_or_names_the_database(call: Callable[[], object]) -> bool:
    try:
        call()
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE and "database" in (error.details() or "")
    return True


def doctor(deployment: Deployment) -> str:
    """Returns the doctor's report on the database."""
    command = [str(DOCTOR), "doctor", "--root", str(deployment.root), "--state-dir", str(deployment.state_dir)]
    env = os.environ | {"HOME": home()}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False).stdout


def test_flipped_bits_are_refused_with_a_sentence_or_do_no_further_harm(origin: Origin) -> None:
    random_numbers = chance("flipped bits")
    refused = 0
    for turn in range(rounds()):
        with new_deployment() as deployment:
            database = origin.lay_out(deployment)
            flip_bits(database, (1, 10, 100)[turn % 3], random_numbers)
            if not starts(deployment):
                refused += 1
                continue
            for call in (
                lambda: deployment.check("abc", limit=1000),
                lambda: deployment.send("abc"),
                lambda: deployment.page("abc"),
            ):
                assert answers_or_names_the_database(call), deployment.log()
            assert "Traceback" not in deployment.log(), deployment.log()
            with suppress(AssertionError):
                deployment.stop()
    print(f"{refused} of {rounds()} were refused at the start")


def test_a_schema_with_invalid_text_is_refused_and_leads_to_the_doctor(origin: Origin) -> None:
    with new_deployment() as deployment:
        database = origin.lay_out(deployment)
        raw = database.read_bytes()
        assert raw.count(b"tablemessagesmessages") == 1  # type, name and table, in the schema
        database.write_bytes(raw.replace(b"tablemessagesmessages", b"tablemess\xe5gesmess\xe5ges"))
        assert not starts(deployment)
        assert "Traceback" not in deployment.log(), deployment.log()
        assert "move mailroom.db* away and start" in " ".join(doctor(deployment).split())


def test_after_a_corrupted_database_is_moved_away_the_inbox_files_remain(origin: Origin) -> None:
    with new_deployment() as deployment:
        database = origin.lay_out(deployment)
        whole = database.read_bytes()
        database.write_bytes(whole[: len(whole) // 2 + 100])
        assert not starts(deployment)
        said = " ".join(doctor(deployment).split())
        assert "move mailroom.db* away and start" in said, said
        for part in deployment.state_dir.glob("mailroom.db*"):
            part.rename(deployment.directory / part.name)
        deployment.start()
        assert deployment.filed("abc") == origin.ids, "unread mail is where its agent looks for it"
        assert all(json.loads(deployment.file_of("abc", one).read_bytes())["id"] == one for one in origin.ids)
        assert deployment.send("abc").message.id > origin.ids[-1]


def test_the_doctor_finds_a_flipped_bit_inside_a_text(origin: Origin) -> None:
    with new_deployment() as deployment:
        database = origin.lay_out(deployment)
        raw = database.read_bytes()
        text = CONTENT.format(MESSAGES - 1).encode()
        assert raw.count(text) == 1
        database.write_bytes(raw.replace(text, text.replace(b"xxx", b"xyx", 1)))
        assert f"{origin.ids[-1]}.json" in "".join(doctor(deployment).split())


def test_a_torn_log_keeps_what_precedes_the_tear_and_no_id_is_reused() -> None:
    random_numbers = chance("torn log")
    with new_deployment() as deployment:
        deployment.start()
        ids = deployment.fill("abc", 5)
        for number in range(30):
            ids.append(deployment.send("abc", CONTENT.format(number)).message.id)
        deployment.kill()
        log = deployment.state_dir / "mailroom.db-wal"
        whole = log.read_bytes()
        kept = deployment.directory / "kept"
        shutil.copytree(deployment.state_dir, kept)
        for turn in range(2 + rounds() // 5):  # each is a start of the daemon
            shutil.rmtree(deployment.state_dir)
            shutil.copytree(kept, deployment.state_dir)
            torn = bytearray(whole[: random_numbers.randrange(len(whole))])
            if turn % 2 and torn:
                torn[random_numbers.randrange(len(torn))] ^= 0xFF
            log.write_bytes(torn)
            deployment.start()
            found = [one.id for one in deployment.check("abc", limit=1000).messages]
            assert found == ids[: len(found)], "a prefix, in order"
            assert set(ids) <= set(deployment.filed("abc")), "the files are all there"
            assert deployment.send("other").message.id > ids[-1]
            assert deployment.query("PRAGMA integrity_check") == [("ok",)]
            deployment.stop(signal.SIGTERM)


def test_outbox_files_of_any_bytes_are_left_or_collected_and_stop_nothing() -> None:
    random_numbers = chance("outbox")
    good = json.dumps({"status": "done", "nested": {"list": [1, 2.5, None, "ä"]}}).encode()
    with running_deployment() as deployment:
        directory = deployment.root / "outbox" / "s"
        directory.mkdir()
        stream = deployment.live("s")
        for number in range(rounds() * 20):
            raw = bytearray(good)
            for _ in range(random_numbers.randrange(1, 4)):
                at = random_numbers.randrange(len(raw))
                raw[at : at + random_numbers.randrange(3)] = random_numbers.randbytes(random_numbers.randrange(3))
            (directory / f"{number}.json").write_bytes(raw)
        for name, raw in {
            "deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
            "numbers": b'{"n": ' + b"9" * 100_000 + b"}",
            "surrogate": b'{"s": "\\ud800"}',
            "doubled": b'{"a": 1, "a": 2}',
            "list": b"[]",
            "nan": b'{"x": NaN, "y": 1e999}',
            "bom": b'\xef\xbb\xbf{"a": 1}',
            "utf-16": '{"a": 1}'.encode("utf-16"),
        }.items():
            (directory / f"{name}.json").write_bytes(raw)
        (directory / "last.json").write_bytes(good)
        while stream.next().command_response.file_name != "last.json":
            pass
        stream.cancel()
        wait_until(lambda: not (directory / "last.json").exists(), "a collected response is removed")
        assert deployment.send("abc").message.id
        assert all(one.restarts == 0 for one in deployment.status().workers), deployment.log()
        assert "Traceback" not in deployment.log()


def test_team_inboxes_of_any_bytes_are_set_aside_whole_or_extended() -> None:
    random_numbers = chance("team inbox")
    good = json.dumps([{"from": "lead", "text": "ä", "timestamp": "2026-01-01T00:00:00Z", "read": False}] * 3).encode()
    with running_deployment() as deployment:
        directory = deployment.root / "teams" / "t" / "inboxes"
        directory.mkdir(parents=True)
        for number in range(rounds() * 4):
            path = directory / f"a{number}.json"
            path.write_bytes(good)
            flip_bits(path, random_numbers.randrange(1, 20), random_numbers)
            before = path.read_bytes()
            deployment.send(f"a{number}@t", "news")
            wait_until(lambda path=path: path.exists() and b"news" in path.read_bytes(), "it is appended")
            aside = list(directory.glob(f"a{number}.json.corrupt-*"))
            entries = json.loads(path.read_text(errors="replace"))  # as its agent reads it
            if aside:
                assert [one.read_bytes() for one in aside] == [before]
                assert len(entries) == 1
            else:
                assert entries[:-1] == json.loads(before.decode(errors="replace"))
        assert "Traceback" not in deployment.log()


def test_a_configuration_of_any_bytes_is_refused_with_a_sentence(tmp_path: Path) -> None:
    random_numbers = chance("configuration")
    good = b'root = "/tmp/x"\nmax-unread = 100\nkeep-read = "24h"\nlisten = ["unix:/tmp/x/s"]\nlog-level = "info"\n'
    path = tmp_path / "mailroomd.toml"
    cases = [
        b"\xff\xfe",
        b"x = " + b"[" * 5000,
        b"max-unread = true",
        b"a" * 100_000,
        b"[" * 5000,
        b'"\\ud800" = 1',
        b"x = 1",
    ]
    for _ in range(rounds()):
        raw = bytearray(good)
        raw[random_numbers.randrange(len(raw))] = random_numbers.randrange(256)
        cases.append(bytes(raw) + b"unknown-setting = 1\n")  # so that none of them starts a daemon
    for raw in cases:
        path.write_bytes(raw)
        ended = subprocess.run(
            [MAILROOMD, "--config", path], capture_output=True, timeout=60, check=False, env={"HOME": str(tmp_path)}
        )
        said = ended.stderr.decode(errors="replace")
        assert ended.returncode in (os.EX_CONFIG, os.EX_USAGE, os.EX_CANTCREAT), (raw[:100], said)
        assert said.startswith("mailroomd: "), said
        assert "Traceback" not in said
        assert str(path) in said


def test_fuzzed_ids_are_never_accepted() -> None:
    random_numbers = chance("ids")
    good = "0123456789abcdef"
    for _ in range(2000):
        text = "".join(random_numbers.choice(good + "ABCDEF \n\0²٣") for _ in range(random_numbers.randrange(15, 18)))
        try:
            number = parse_id(text)
        except ValueError:
            continue
        assert f"{number:016x}" == text
