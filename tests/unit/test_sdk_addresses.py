"""Where the daemon is looked for, in which order."""

import json
from pathlib import Path

import pytest
from mailroom.addresses import Address, find_daemon
from mailroom.errors import InvalidArgument


def environment(directory: Path) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(directory / "run"), "XDG_STATE_HOME": str(directory / "state")}


def touched(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def test_an_explicit_address_wins_over_the_environment() -> None:
    assert find_daemon("127.0.0.1:7", {"MAILROOM_ADDRESS": "unix:/x"}).text == "127.0.0.1:7"
    assert find_daemon(None, {"MAILROOM_ADDRESS": "unix:/x"}).text == "unix:/x"
    assert find_daemon("/x/y.sock", {}).text == "unix:/x/y.sock"


def test_the_socket_in_the_runtime_directory_comes_first(tmp_path: Path) -> None:
    socket = touched(tmp_path / "run" / "mailroom" / "mailroom.sock")
    touched(tmp_path / "state" / "mailroom" / "mailroom.sock")
    assert find_daemon(None, environment(tmp_path)).text == f"unix:{socket}"


def test_the_daemons_own_list_comes_next_and_a_live_socket_in_it_is_preferred(tmp_path: Path) -> None:
    socket = touched(tmp_path / "elsewhere.sock")
    listed = touched(tmp_path / "state" / "mailroom" / "addresses")
    listed.write_text(json.dumps(["127.0.0.1:50051", "unix:/gone.sock", f"unix:{socket}"]))
    assert find_daemon(None, environment(tmp_path)).text == f"unix:{socket}"
    socket.unlink()
    assert find_daemon(None, environment(tmp_path)).text == "127.0.0.1:50051"


@pytest.mark.parametrize("text", ["", "{", "7", "null", '["nonsense"]', "[]", "[7]"])
def test_a_broken_list_is_passed_over(text: str, tmp_path: Path) -> None:
    listed = touched(tmp_path / "state" / "mailroom" / "addresses")
    listed.write_text(text)
    found = find_daemon(None, environment(tmp_path))
    assert found.text == f"unix:{listed.with_name('mailroom.sock')}"


def test_everything_that_was_tried_is_told(tmp_path: Path) -> None:
    found = find_daemon(None, {**environment(tmp_path), "MAILROOM_STATE_DIR": str(tmp_path / "mine")})
    assert found.text == f"unix:{tmp_path}/mine/mailroom.sock"
    assert [place.split(" ")[0] for place in found.tried] == [
        str(tmp_path / "run" / "mailroom" / "mailroom.sock"),
        str(tmp_path / "mine" / "addresses"),
        str(tmp_path / "mine" / "mailroom.sock"),
    ]


@pytest.mark.parametrize("text", ["nonsense", "unix:", "host:", "http://host:1", ":7", "host:port"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        find_daemon(text, {})
    assert caught.value.field == "address"


def test_odd_characters_in_a_path_are_quoted_for_grpc() -> None:
    assert Address("unix:/a b/%.sock").grpc_target == "unix:/a%20b/%25.sock"
