"""The outbox on real directories, with a clock that the test moves: no test waits."""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailroomd.observability.log import log
from mailroomd.storage.outbox import candidates, problems, scan
from mailroomd.storage.outbox import file as outbox_file
from mailroomd.storage.outbox.file import MAX_RESPONSE_BYTES, FileIdentity, OutboxFile
from mailroomd.storage.outbox.outbox import Outbox

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
PROMISED_SEC = 2.0


class StoreHarness:
    """An outbox, its directory, and the time."""

    def __init__(self, root: Path, watches_most: int = 100) -> None:
        self.path = root / "outbox"
        self.now_sec = 1000.0
        self.outbox = Outbox(root, watches_most)

    def put(self, name: str, body: object) -> Path:
        """Leaves a file as a careful agent does: whole, by rename."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        aside = path.with_name("." + path.name)
        aside.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
        return aside.rename(path)

    def collect(self) -> list[OutboxFile]:
        """Returns what a worker finds at this moment."""
        found = self.outbox.collect_responses(self.now_sec)
        while self.outbox.due_in_sec(self.now_sec) == 0:
            found += self.outbox.collect_responses(self.now_sec)
        return found

    def wait(self, seconds: float) -> list[OutboxFile]:
        """Returns what a worker finds within this time, if it sleeps as long as it may."""
        end_sec = self.now_sec + seconds
        found = self.collect()
        while self.now_sec + self.outbox.due_in_sec(self.now_sec) <= end_sec:
            self.now_sec += self.outbox.due_in_sec(self.now_sec)
            found += self.collect()
        self.now_sec = end_sec
        return found

    def names(self, found: list[OutboxFile]) -> list[str]:
        return [f"{one.session}/{one.name}" for one in found]


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[StoreHarness]:
    made = StoreHarness(tmp_path)
    (tmp_path / "outbox/s").mkdir()
    made.wait(5)
    yield made
    made.outbox.close()


@pytest.fixture
def blind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> Iterator[StoreHarness]:
    """An outbox without an inotify instance: the rescan alone finds files."""

    def refuse() -> None:
        raise OSError(24, "no inotify instance left")

    monkeypatch.setattr("mailroomd.storage.directories.watcher.Inotify", refuse)
    made = StoreHarness(tmp_path)
    assert made.outbox.fileno() is None
    assert lines.pop().startswith("warning: directory not watched, relying on rescans")
    (tmp_path / "outbox/s").mkdir()
    made.wait(5)
    yield made
    made.outbox.close()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that are logged."""
    gathered: list[str] = []

    def write(_: object, level: str, event: str, fields: dict[str, object]) -> None:
        gathered.append(f"{level}: {event} {fields}")

    monkeypatch.setattr(type(log), "_write", write)
    return gathered


def be_silent(*_: object) -> None:
    """Logs nothing."""


# -- finding ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_renamed_into_place_is_found_at_once(harness: StoreHarness) -> None:
    harness.put("s/a.json", {"ok": [1, "ü"]})
    (found,) = harness.outbox.collect_responses(harness.now_sec)
    assert (found.session, found.name, json.loads(found.body)) == ("s", "a.json", {"ok": [1, "ü"]})
    assert found.identity.inode == (harness.path / "s/a.json").stat().st_ino


def test_a_file_is_found_at_once_when_its_writer_closes_it(harness: StoreHarness) -> None:
    with (harness.path / "s/a.json").open("w") as file:
        file.write('{"a":')
        file.flush()
        assert harness.wait(0.9) == []
        file.write("1}")
    assert harness.names(harness.outbox.collect_responses(harness.now_sec)) == ["s/a.json"]


def test_the_first_file_of_a_new_session_does_not_wait_for_the_rescan(harness: StoreHarness) -> None:
    harness.put("new/a.json", {})
    assert harness.names(harness.wait(0.11)) == ["new/a.json"]
    harness.put("new/b.json", {})
    assert [one.name for one in harness.collect() if one.name == "b.json"] == ["b.json"]


def test_a_directory_that_is_moved_in_with_its_files_is_found(harness: StoreHarness, tmp_path: Path) -> None:
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside/a.json").write_text("{}")
    (tmp_path / "aside").rename(harness.path / "moved")
    assert harness.names(harness.wait(0.11)) == ["moved/a.json"]


def test_files_from_before_the_start_are_found_in_the_order_written(tmp_path: Path) -> None:
    for number, name in enumerate(["c", "a", "b"]):
        path = tmp_path / f"outbox/{name}/{name}.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        os.utime(path, (number, number))
    harness = StoreHarness(tmp_path)
    assert harness.names(harness.wait(0.2)) == ["c/c.json", "a/a.json", "b/b.json"]
    harness.outbox.close()


def test_the_rescan_alone_finds_files_within_the_promised_time(blind: StoreHarness) -> None:
    for number in range(40):
        blind.put(f"{'s' if number % 2 else 'another'}/{number}.json", {})
        assert len(blind.wait(PROMISED_SEC)) == 1
        blind.now_sec += number * 0.11


def test_two_changes_within_one_tick_of_the_directory_are_both_found(blind: StoreHarness) -> None:
    path = blind.path / "s"
    blind.put("s/a.json", {})
    before = path.stat().st_mtime_ns
    assert blind.names(blind.wait(PROMISED_SEC)) == ["s/a.json"]
    blind.put("s/b.json", {})
    os.utime(path, ns=(before, before))
    assert blind.names(blind.wait(PROMISED_SEC)) == ["s/b.json"]


def test_with_fewer_watches_than_sessions_all_are_found(tmp_path: Path) -> None:
    harness = StoreHarness(tmp_path, watches_most=2)
    for number in range(5):
        harness.put(f"s{number}/a.json", {})
    assert len(harness.wait(PROMISED_SEC)) == 5
    harness.wait(10)
    for number in range(5):
        harness.put(f"s{number}/b.json", {})
    assert len(harness.wait(PROMISED_SEC)) == 5
    harness.outbox.close()


def test_without_a_watch_left_files_are_found_and_it_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "no inotify watch left: raise fs.inotify.max_user_watches")

    monkeypatch.setattr("mailroomd.storage.directories.inotify.Inotify.add", refuse)
    harness = StoreHarness(tmp_path)
    for number in range(5):
        harness.put(f"s{number}/a.json", {})
    assert len(harness.wait(PROMISED_SEC)) == 5
    harness.outbox.close()
    assert len(lines) == 1
    assert "max_user_watches" in lines[0]


def test_after_an_overflow_everything_is_listed_again(harness: StoreHarness, lines: list[str]) -> None:
    for number in range(QUEUE + 2):
        os.close(os.open(harness.path / f"s/flood-{number % 2}", os.O_WRONLY | os.O_CREAT))
    harness.put("s/a.json", {})  # its event is lost
    (harness.path / "new").mkdir()
    harness.put("new/b.json", {})
    assert sorted(harness.names(harness.wait(0.2))) == ["new/b.json", "s/a.json"]
    assert len(lines) == 1


def test_many_files_at_once_are_collected_in_pages(harness: StoreHarness) -> None:
    for number in range(500):
        harness.put(f"s/{number:03}.json", {"number": number})
    assert len(harness.outbox.collect_responses(harness.now_sec, limit=7)) == 7
    assert harness.outbox.due_in_sec(harness.now_sec) == 0
    assert len(harness.outbox.collect_responses(harness.now_sec)) == 200
    assert len(harness.collect()) == 293
    assert harness.outbox.due_in_sec(harness.now_sec) > 0


def test_files_beyond_the_bound_are_not_remembered_and_found_later(
    harness: StoreHarness, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "KNOWN_MOST", 3)
    for number in range(5):
        harness.put(f"s/{number}.json", {"number": number})
    first = harness.collect()
    assert len(first) == 3, "also of files that the kernel reports"
    harness.wait(PROMISED_SEC)
    assert len(lines) == 1
    for one in first:
        assert harness.outbox.remove_response(one)
    assert [one.name for one in harness.wait(PROMISED_SEC)] == ["3.json", "4.json"]


def test_many_sessions_are_scanned_in_slices(tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"outbox/s{number}").mkdir(parents=True)
        (tmp_path / f"outbox/s{number}/a.json").write_text("{}")
    harness = StoreHarness(tmp_path)
    assert harness.outbox.collect_responses(harness.now_sec) == []
    assert harness.outbox.due_in_sec(harness.now_sec) == 0  # there is more to look at
    assert len(harness.wait(PROMISED_SEC)) == 400
    harness.outbox.close()


def test_a_session_that_is_deleted_while_it_is_scanned_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SLICE_ENTRIES", 3)  # less than what opening a directory costs
    harness = StoreHarness(tmp_path)
    path = harness.put("s/a.json", b"oops")
    harness.wait(PROMISED_SEC)
    harness.put("s/b.json", b"oops")
    harness.now_sec += scan.RESCAN_SEC
    harness.outbox.collect_responses(harness.now_sec)  # the scan of the session has begun
    shutil.rmtree(path.parent)
    harness.now_sec += 2  # the files are due: their session turns out to be gone
    assert harness.wait(60) == []
    harness.put("s/c.json", {})
    assert harness.names(harness.wait(PROMISED_SEC)) == ["s/c.json"]
    harness.outbox.close()


def test_a_replaced_or_deleted_outbox_is_opened_again(harness: StoreHarness) -> None:
    harness.path.rename(harness.path.with_name("old"))
    harness.wait(PROMISED_SEC)
    assert harness.path.is_dir()
    harness.put("s/a.json", {})
    assert harness.names(harness.wait(0.2)) == ["s/a.json"]
    shutil.rmtree(harness.path)
    (harness.path / "s").mkdir(parents=True)
    harness.put("s/b.json", {})
    assert harness.names(harness.wait(PROMISED_SEC)) == ["s/b.json"]
    harness.put("s/c.json", {})
    assert harness.names(harness.collect()) == ["s/c.json"]


# -- files that are being written -------------------------------------------------------------------------------------


def test_a_slow_writer_is_waited_for_and_nothing_is_logged(blind: StoreHarness, lines: list[str]) -> None:
    text = json.dumps({"list": list(range(20))})
    with (blind.path / "s/a.json").open("w") as file:
        for character in text:
            assert blind.wait(0.5) == []
            file.write(character)
            file.flush()
        (found,) = blind.wait(PROMISED_SEC)
    assert json.loads(found.body) == {"list": list(range(20))}
    assert lines == []


@pytest.mark.parametrize("seconds", [1.5, 5.0, 100.0])
def test_a_file_whose_writer_pauses_is_logged_and_found_when_complete(
    blind: StoreHarness, lines: list[str], seconds: float
) -> None:
    path = blind.path / "s/a.json"
    path.write_text('{"a":')
    assert blind.wait(PROMISED_SEC + seconds) == []
    assert len(lines) == 1
    with path.open("a") as file:
        file.write("1}")
    assert [one.body for one in blind.wait(31)] == [b'{"a":1}']


def test_a_placeholder_that_is_filled_at_once_is_not_announced(blind: StoreHarness) -> None:
    path = blind.path / "s/a.json"
    path.write_text("{}")
    blind.now_sec += 1.5
    assert blind.collect() == []  # seen, but not still for 100 ms yet
    path.write_text('{"a":1}')
    assert [one.body for one in blind.wait(PROMISED_SEC)] == [b'{"a":1}']


@given(
    cuts=st.lists(st.tuples(st.integers(0, 60), st.floats(0, 3), st.booleans()), max_size=8),
    body=st.dictionaries(st.text(max_size=3), st.one_of(st.integers(0, 99), st.text(max_size=5)), max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_however_a_file_is_written_only_the_whole_is_collected(
    cuts: list[tuple[int, float, bool]], body: dict[str, object]
) -> None:
    """Each cut: up to which byte it is written, how long the writer pauses then, and whether it closes the file."""
    raw = json.dumps(body).encode()
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(log), "_write", be_silent)
        harness = StoreHarness(Path(directory))
        path = harness.path / "s/a.json"
        path.parent.mkdir()
        handle, done = -1, 0
        for cut, pause_sec, is_closed in sorted(cuts):
            end = min(cut, len(raw) - 1)
            handle = handle if handle >= 0 else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(handle, raw[done:end])
            done = max(done, end)
            if is_closed:
                os.close(handle)
                handle = -1
            assert harness.wait(pause_sec) == []
        handle = handle if handle >= 0 else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, raw[done:])
        os.close(handle)
        assert [json.loads(one.body) for one in harness.wait(0.2)] == [body]
        harness.outbox.close()


# -- invalid files ----------------------------------------------------------------------------------------------------

NESTED = [b'{"a":' * levels + b"1" + b"}" * levels for levels in (32, 33)]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":"\\ud800","b":NaN}', "not JSON"),
        (b'{"a":"\\ud800"', "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        (b"{}{}", "not JSON"),
        (b"\0" * 100, "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not an object"),
        (b"null", "not an object"),
        (b'"text"', "not an object"),
        (NESTED[1], "deeper than 32"),
        (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", "deeper than 32"),
    ],
    ids=range(16),
)
def test_an_invalid_file_is_logged_once_and_left_where_it_is(
    harness: StoreHarness, lines: list[str], raw: bytes, reason: str
) -> None:
    path = harness.put("s/a.json", raw)
    assert harness.wait(0.99) == []
    assert lines == []
    assert harness.wait(0.02) == []
    assert len(lines) == 1
    assert lines[0].startswith("error: ignoring invalid outbox file")
    assert reason in lines[0]
    for _ in range(50):
        harness.put("s/other.json", {})  # the directory changes
        harness.wait(3)
    assert len(lines) == 1
    assert path.read_bytes() == raw
    os.utime(path, (5, 5))  # its owner tries again
    harness.wait(40)
    assert len(lines) == 2


def test_an_invalid_file_that_is_repaired_is_found(harness: StoreHarness, lines: list[str]) -> None:
    harness.put("s/a.json", b"oops")
    harness.wait(100)
    harness.put("s/a.json", {"a": 1})
    assert [one.body for one in harness.collect()] == [b'{"a":1}']
    assert len(lines) == 1


@pytest.mark.parametrize(
    "raw",
    [
        NESTED[0],
        b'{"a":"' + b"[" * 50 + b'","b":"\\"{{{{\\\\"}',
        b'{"a":[' + b"[]," * 99 + b"{}]}",
        b' {"a" : 1.5e300}\r\n',
    ],
    ids=range(4),
)
def test_a_valid_response_is_collected_in_compact_form(harness: StoreHarness, raw: bytes) -> None:
    harness.put("s/a.json", raw)
    (found,) = harness.collect()
    assert json.loads(found.body) == json.loads(raw)
    assert len(found.body) <= len(raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\uDE00\ud83d\uDE00\ud83d\ud83d", "\ufffd\U0001f600\ufffd\ufffd"),
        (rb"\\ud83d \\\ud83d", "\\ud83d \\\ufffd"),
    ],
)
def test_half_an_emoji_is_replaced_and_the_response_is_collected(harness: StoreHarness, raw: bytes, text: str) -> None:
    """JSON.stringify in Node writes a lone surrogate as an escape, which no UTF-8 text can hold."""
    harness.put("s/a.json", b'{"text":"' + raw + b'","number":1.5}')
    (found,) = harness.collect()
    assert json.loads(found.body) == {"text": text, "number": 1.5}


def test_a_file_of_3_mib_is_collected(harness: StoreHarness) -> None:
    raw = b'{"a":"' + b"x" * (MAX_RESPONSE_BYTES - 8) + b'"}'
    assert len(raw) == 3 << 20
    harness.put("s/a.json", raw)
    assert [one.body for one in harness.collect()] == [raw]


def test_a_larger_file_is_logged_once_and_left(harness: StoreHarness, lines: list[str]) -> None:
    path = harness.path / "s/a.json"
    with path.open("w") as file:
        file.truncate(MAX_RESPONSE_BYTES + 1)
    (harness.path / "s/huge.json").touch()
    os.truncate(harness.path / "s/huge.json", 1 << 40)
    assert harness.wait(100) == []
    assert len(lines) == 2
    assert "at most 3,145,728" in lines[0]
    assert path.exists()


def test_several_large_files_do_not_come_in_one_page(harness: StoreHarness) -> None:
    raw = b'{"a":"' + b"x" * (2 << 20) + b'"}'
    for number in range(4):
        harness.put(f"s/{number}.json", raw)
    assert [len(harness.outbox.collect_responses(harness.now_sec)) for _ in range(3)] == [2, 2, 0]


def test_links_directories_fifos_sockets_and_devices_do_no_harm(
    harness: StoreHarness, lines: list[str], tmp_path: Path
) -> None:
    directory = harness.path / "s"
    (tmp_path / "secret.json").write_text('{"secret":1}')
    (directory / "link.json").symlink_to(tmp_path / "secret.json")
    (directory / "passwd.json").symlink_to("/etc/passwd")
    (directory / "loop.json").symlink_to("loop.json")
    (directory / "up.json").symlink_to("..")
    (directory / "directory.json").mkdir()
    (directory / "directory.json/inner.json").write_text("{}")
    os.mkfifo(directory / "fifo.json")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "socket.json"))
    listener.close()
    kinds = 7
    if os.geteuid() == 0:
        os.mknod(directory / "device.json", 0o600 | 0o020000, os.makedev(5, 0))
        kinds += 1
    harness.put("s/good.json", {})
    assert harness.names(harness.wait(60)) == ["s/good.json"]
    assert len(lines) == kinds
    assert all("not a regular file" in line for line in lines)
    assert (tmp_path / "secret.json").exists()
    assert len(list(directory.iterdir())) == kinds + 1


def test_files_with_other_names_are_not_candidates(harness: StoreHarness, lines: list[str]) -> None:
    for name in (".json", "..json", ".a.json", "a.JSON", "a.json~", "a.json.tmp", "a", "json"):
        (harness.path / "s" / name).write_text("{}")
    (harness.path / "loose.json").write_text("{}")
    assert harness.wait(60) == []
    assert lines == []


@pytest.mark.parametrize(
    "raw",
    [b"\xff.json", b"a\nb.json", b"\x1b[2J.json", b"\x7f.json"]
    + [f"a{character}b.json".encode() for character in "\x85\u2028\u2029\u202e\u2066\u200f\u061c"],
)
def test_invalid_file_names_are_logged_escaped_and_left(harness: StoreHarness, lines: list[str], raw: bytes) -> None:
    path = os.fsencode(harness.path) + b"/s/" + raw
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    assert harness.wait(60) == []
    assert len(lines) == 1
    assert lines[0].isascii()
    assert lines[0].isprintable()
    assert [os.fsencode(one) for one in (harness.path / "s").iterdir()] == [path]


@pytest.mark.parametrize(
    "name", ["ü ñ 日本.json", "x" * 250 + ".json", "a b'\"$(rm).json", "-rf.json", "~.json", "👩\u200d💻❤\ufe0f.json"]
)
def test_odd_names_are_only_names(harness: StoreHarness, name: str) -> None:
    harness.put(f"s/{name[-200:]}", {})
    (found,) = harness.collect()
    assert found.name == name[-200:]
    assert harness.outbox.remove_response(found)


@pytest.mark.parametrize("character", "\u2028\u202e\u200b\xad\u2060\u3164\ufeff\U000e0041")
def test_invisible_characters_in_names_are_logged_escaped(
    harness: StoreHarness, lines: list[str], character: str
) -> None:
    (harness.path / f"x{character}supervisor: rights given to root").mkdir()
    harness.put(f"s/a{character}b.json", b"oops")
    harness.wait(5)
    assert len(lines) == 2
    assert all(line.isascii() for line in lines)


def test_many_invalid_files_are_counted_and_not_logged_one_by_one(harness: StoreHarness, lines: list[str]) -> None:
    for number in range(500):
        harness.put(f"s/{number}.json", b"oops")
    for number in range(problems.KNOWN_MOST + 100):
        (harness.path / f"no name {number}").mkdir()
    harness.wait(50)
    assert len(lines) == problems.LINES_MOST
    lines.clear()
    harness.wait(60)
    assert sorted(lines) == [
        "warning: outbox problems not logged one by one {'problem': 'ignoring directory not named like a session',"
        " 'count': 980}",
        "warning: outbox problems not logged one by one {'problem': 'ignoring invalid outbox file', 'count': 500}",
    ]
    lines.clear()
    harness.put("s/new.json", b"oops")
    harness.wait(5)
    assert len(lines) == 1
    harness.wait(120)
    assert len(lines) == 1


def test_directories_not_named_like_sessions_are_logged_once(harness: StoreHarness, lines: list[str]) -> None:
    for name in ("a b", "x" * 129, "a@b@c", "ü"):
        (harness.path / name).mkdir()
        (harness.path / name / "a.json").write_text("{}")
    (harness.path / ".hidden").mkdir()
    assert harness.wait(5) == []
    for number in range(20):
        (harness.path / f"s{number}").mkdir()
        harness.wait(2)
    assert len(lines) == 4
    assert all("not named like a session" in line for line in lines)


def test_a_session_that_is_a_link_is_ignored(harness: StoreHarness, lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.json").write_text("{}")
    (harness.path / "link").symlink_to(tmp_path / "elsewhere")
    assert harness.wait(20) == []
    shutil.rmtree(harness.path / "s")
    (harness.path / "s").symlink_to(tmp_path / "elsewhere")  # a session that was there before
    assert harness.wait(20) == []
    assert len(lines) == 3
    assert (tmp_path / "elsewhere/a.json").exists()


# -- collecting and removing ------------------------------------------------------------------------------------------


def test_a_file_is_collected_once_and_gone_when_removed(harness: StoreHarness) -> None:
    path = harness.put("s/a.json", {})
    (found,) = harness.collect()
    (harness.path / "s/noise").touch()
    os.close(os.open(path, os.O_WRONLY))  # closed after writing, but nothing was
    assert harness.wait(60) == []
    assert harness.outbox.remove_response(found)
    assert not path.exists()
    assert harness.outbox.remove_response(found)
    assert harness.wait(60) == []


@pytest.mark.parametrize("is_noticed", [False, True])
def test_a_file_replaced_since_is_kept_and_found(harness: StoreHarness, is_noticed: bool) -> None:
    path = harness.put("s/a.json", {"a": 1})
    (first,) = harness.collect()
    harness.put("s/a.json", {"a": 2})
    found = harness.collect() if is_noticed else []
    assert not harness.outbox.remove_response(first)
    found += harness.wait(5)
    assert [one.body for one in found] == [b'{"a":2}']
    assert harness.outbox.remove_response(found[0])
    assert not path.exists()


def test_a_file_written_again_since_is_kept_and_found(blind: StoreHarness) -> None:
    path = blind.path / "s/a.json"
    path.write_text('{"a":1}')
    (first,) = blind.wait(PROMISED_SEC)
    path.write_text('{"a":2222}')
    assert not blind.outbox.remove_response(first)
    (second,) = blind.wait(PROMISED_SEC)
    assert second.body == b'{"a":2222}'
    assert blind.outbox.remove_response(second)


def test_a_file_that_vanishes_is_not_an_error(harness: StoreHarness, lines: list[str]) -> None:
    harness.put("s/a.json", {}).unlink()
    assert harness.collect() == []
    path = harness.put("s/b.json", {})
    (found,) = harness.collect()
    path.unlink()
    assert harness.outbox.remove_response(found)
    harness.put("s/c.json", {})
    (found,) = harness.collect()
    shutil.rmtree(harness.path / "s")
    assert harness.outbox.remove_response(found)
    assert harness.wait(60) == []
    assert lines == []


def test_nothing_outside_is_deleted_through_a_directory_that_became_a_link(
    harness: StoreHarness, tmp_path: Path
) -> None:
    path = harness.put("s/a.json", {})
    (found,) = harness.collect()
    (tmp_path / "elsewhere").mkdir()
    os.link(path, tmp_path / "elsewhere/a.json")  # the very same file
    shutil.rmtree(harness.path / "s")
    (harness.path / "s").symlink_to(tmp_path / "elsewhere")
    assert not harness.outbox.remove_response(found)
    harness.wait(5)
    assert (tmp_path / "elsewhere/a.json").exists()


def test_a_file_that_cannot_be_removed_is_not_collected_again(
    harness: StoreHarness, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = harness.put("s/a.json", {})
    (found,) = harness.collect()
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert not harness.outbox.remove_response(found)
        assert harness.wait(100) == []
        assert len(lines) == 1
        assert path.exists()
    assert harness.wait(31) == []
    assert not path.exists()


def test_a_file_that_was_unreadable_for_a_while_is_found_later(
    harness: StoreHarness, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    harness.put("s/a.json", {"turn": 1})
    with monkeypatch.context() as patch:
        patch.setattr(outbox_file, "_read_unchanged", refuse)
        assert harness.wait(10) == []
        assert len(lines) == 1
    assert [one.name for one in harness.wait(31)] == ["a.json"]


steps = st.one_of(
    st.tuples(st.sampled_from(["rename", "write", "half", "remove"]), st.sampled_from("abc")),
    st.tuples(st.just("wait"), st.floats(0, 3)),
    st.tuples(st.just("store"), st.just(0)),
)


@given(steps=st.lists(steps, max_size=25), watches_most=st.integers(0, 1))
@settings(max_examples=25, deadline=None)
def test_no_response_is_ever_removed_unseen(steps: list[tuple[str, str | float]], watches_most: int) -> None:
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(log), "_write", be_silent)
        harness = StoreHarness(Path(root), watches_most)
        (harness.path / "s").mkdir()
        last: dict[str, bytes] = {}  # the response that lies there, or lay there when it was collected
        seen: list[bytes] = []
        in_hand: list[OutboxFile] = []
        for number, (step, what) in enumerate([*steps, ("wait", 40.0), ("store", 0), ("wait", 40.0), ("store", 0)]):
            path = harness.path / f"s/{what}.json"
            body = b'{"number":"' + b"x" * number + b'"}'  # no two of the same size
            if step == "rename":
                harness.put(f"s/{what}.json", body)
                last[str(what)] = body
            elif step == "write":
                path.write_bytes(body)
                last[str(what)] = body
            elif step == "half":
                path.write_bytes(body[:-1])
                last.pop(str(what), None)
            elif step == "remove":
                path.unlink(missing_ok=True)
                last.pop(str(what), None)
            elif step == "wait":
                in_hand += harness.wait(float(what))
            else:
                seen += [one.body for one in in_hand]
                for one in in_hand:
                    harness.outbox.remove_response(one)
                in_hand = []
        harness.outbox.close()
        assert len(seen) == len(set(seen))
        assert set(last.values()) <= set(seen)
        left = {path.read_bytes() for path in (harness.path / "s").iterdir()}
        assert not left & set(seen)


def test_a_files_lasting_identity_survives_a_new_device_number() -> None:
    before = FileIdentity(device=7, inode=12, size_bytes=100, mtime_ns=1_800_000_000_000_000_001)
    assert before.lasting == before._replace(device=8).lasting
    others = [before._replace(inode=13), before._replace(size_bytes=101), before._replace(mtime_ns=before.mtime_ns + 1)]
    assert before.lasting not in {one.lasting for one in others}
