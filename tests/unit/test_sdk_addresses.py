"""The places where a client looks for the daemon, and their order."""

import errno
import fcntl
import json
import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from mailroom.addresses import Address, find_daemon, running_daemon_pid, state_directory
from mailroom.errors import DaemonNotRunning, InvalidArgument


def environment(directory: Path) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(directory / "run"), "XDG_STATE_HOME": str(directory / "state")}


def touched(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


Bind = Callable[..., Path]


@pytest.fixture
def bind() -> Generator[Bind, None, None]:
    """Makes a socket on which somebody listens, or one that a killed daemon left behind."""
    with ExitStack() as listeners:

        def make(path: Path, *, stale: bool = False) -> Path:
            path.parent.mkdir(parents=True, exist_ok=True)
            listener = listeners.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            listener.listen(1)
            if stale:
                listener.close()
            return path

        yield make


def test_an_explicit_address_takes_precedence_over_the_environment() -> None:
    assert find_daemon("127.0.0.1:7", {"MAILROOM_ADDRESS": "unix:/x"}).text == "127.0.0.1:7"
    assert find_daemon(None, {"MAILROOM_ADDRESS": "unix:/x"}).text == "unix:/x"
    assert find_daemon("/x/y.sock", {}).text == "unix:/x/y.sock"


def test_the_socket_in_the_runtime_directory_comes_first(bind: Bind, tmp_path: Path) -> None:
    live = bind(tmp_path / "run" / "mailroom" / "mailroom.sock")
    bind(tmp_path / "state" / "mailroom" / "mailroom.sock")
    assert find_daemon(None, environment(tmp_path)).text == f"unix:{live}"


def test_a_chosen_state_directory_takes_precedence_over_the_runtime_directory(bind: Bind, tmp_path: Path) -> None:
    other = bind(tmp_path / "run" / "mailroom" / "mailroom.sock")
    environ = {**environment(tmp_path), "MAILROOM_STATE_DIR": str(tmp_path / "mine")}
    found = find_daemon(None, environ)
    assert found.text == f"unix:{tmp_path}/mine/mailroom.sock"
    assert str(other) not in " ".join(found.tried)
    live = bind(tmp_path / "mine" / "mailroom.sock")
    assert find_daemon(None, environ).text == f"unix:{live}"
    touched(tmp_path / "mine" / "addresses").write_text(json.dumps([f"unix:{other}"]))
    assert find_daemon(None, environ).text == f"unix:{other}"


def test_the_home_directory_may_be_written_as_a_tilde(
    bind: Bind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    live = bind(tmp_path / "mine" / "mailroom.sock")
    assert state_directory({"MAILROOM_STATE_DIR": "~/x/../mine"}) == tmp_path / "mine"
    assert find_daemon(None, {"MAILROOM_STATE_DIR": "~/mine"}).text == f"unix:{live}"
    assert find_daemon(None, {"MAILROOM_ADDRESS": "unix:~/x/../a.sock"}).text == f"unix:{tmp_path}/a.sock"
    assert find_daemon("~/a.sock", {}).text == f"unix:{tmp_path}/a.sock"
    with pytest.raises(InvalidArgument, match="MAILROOM_STATE_DIR"):
        find_daemon(None, {"MAILROOM_STATE_DIR": "~nobody-of-this-name/x"})
    with pytest.raises(InvalidArgument, match="MAILROOM_ADDRESS"):
        find_daemon(None, {"MAILROOM_ADDRESS": "unix:~nobody-of-this-name/x"})


def test_relative_xdg_directories_are_ignored_as_the_daemon_does(tmp_path: Path) -> None:
    relative = {"XDG_RUNTIME_DIR": "run", "XDG_STATE_HOME": "state"}
    assert find_daemon(None, relative).text == f"unix:{Path.home()}/.local/state/mailroom/mailroom.sock"
    assert len(find_daemon(None, relative).tried) == 2


@pytest.mark.parametrize("listens_at", ["elsewhere.sock", "state/mailroom/mailroom.sock"])
def test_a_stale_socket_hides_no_daemon(listens_at: str, bind: Bind, tmp_path: Path) -> None:
    stale = bind(tmp_path / "run" / "mailroom" / "mailroom.sock", stale=True)
    live = bind(tmp_path / listens_at)
    listed = touched(tmp_path / "state" / "mailroom" / "addresses")
    listed.write_text(json.dumps([f"unix:{stale}", *([f"unix:{live}"] if listens_at == "elsewhere.sock" else [])]))
    found = find_daemon(None, environment(tmp_path))
    assert found.text == f"unix:{live}"
    assert found.tried[0] == f"{stale} (connection refused)"
    assert found.tried[1].startswith(f"{listed} (unix:{stale}: connection refused")


def test_without_a_daemon_the_stale_socket_is_named(bind: Bind, tmp_path: Path) -> None:
    stale = bind(tmp_path / "run" / "mailroom" / "mailroom.sock", stale=True)
    found = find_daemon(None, environment(tmp_path))
    assert found.text == f"unix:{stale}"
    assert [place.partition(" ")[2] for place in found.tried] == [
        "(connection refused)",
        "(no such file or directory)",
        "(no such file or directory)",
    ]


def test_a_daemon_with_a_full_backlog_counts_as_listening(bind: Bind, tmp_path: Path) -> None:
    live = bind(tmp_path / "run" / "mailroom" / "mailroom.sock")
    with ExitStack() as callers:
        results: list[int] = []
        for _ in range(10):  # more than its queue holds
            caller = callers.enter_context(socket.socket(socket.AF_UNIX))
            caller.settimeout(0)
            results.append(caller.connect_ex(str(live)))
        assert results[-1] == errno.EAGAIN
        assert find_daemon(None, environment(tmp_path)).text == f"unix:{live}"


def test_a_path_too_long_for_a_socket_is_skipped(tmp_path: Path) -> None:
    found = find_daemon(None, {**environment(tmp_path), "XDG_RUNTIME_DIR": "/" + "x" * 120})
    assert "too long" in found.tried[0]
    assert found.text == f"unix:{tmp_path}/state/mailroom/mailroom.sock"


def test_the_address_file_comes_next_and_a_live_socket_in_it_is_preferred(bind: Bind, tmp_path: Path) -> None:
    live = bind(tmp_path / "elsewhere.sock")
    stale = bind(tmp_path / "stale.sock", stale=True)
    listed = touched(tmp_path / "state" / "mailroom" / "addresses")
    listed.write_text(json.dumps(["127.0.0.1:50051", "unix:/gone.sock", f"unix:{stale}", f"unix:{live}"]))
    found = find_daemon(None, environment(tmp_path))
    assert found.text == f"unix:{live}"
    assert found.tried[-1] == (
        f"{listed} (127.0.0.1:50051, unix:/gone.sock: no such file or directory, "
        f"unix:{stale}: connection refused, unix:{live})"
    )
    live.unlink()
    assert find_daemon(None, environment(tmp_path)).text == "127.0.0.1:50051"


@pytest.mark.parametrize("text", ["", "{", "7", "null", '["nonsense"]', "[]", "[7]"])
def test_a_malformed_address_file_is_skipped(text: str, tmp_path: Path) -> None:
    listed = touched(tmp_path / "state" / "mailroom" / "addresses")
    listed.write_text(text)
    found = find_daemon(None, environment(tmp_path))
    assert found.text == f"unix:{listed.with_name('mailroom.sock')}"


def test_every_place_that_was_tried_is_recorded(tmp_path: Path) -> None:
    found = find_daemon(None, environment(tmp_path))
    assert found.text == f"unix:{tmp_path}/state/mailroom/mailroom.sock"
    assert [place.split(" ")[0] for place in found.tried] == [
        str(tmp_path / "run" / "mailroom" / "mailroom.sock"),
        str(tmp_path / "state" / "mailroom" / "addresses"),
        str(tmp_path / "state" / "mailroom" / "mailroom.sock"),
    ]


@pytest.mark.parametrize("text", ["nonsense", "unix:", "unix:/a\0b", "host:", "http://host:1", ":7", "host:port"])
def test_a_malformed_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        find_daemon(text, {})
    assert caught.value.field == "address"


def test_special_characters_in_a_path_are_quoted_for_grpc() -> None:
    assert Address("unix:/a b/%.sock").grpc_target == "unix:/a%20b/%25.sock"


def test_a_running_daemon_is_known_by_its_lock_and_its_published_addresses(tmp_path: Path) -> None:
    environ = {"MAILROOM_STATE_DIR": str(tmp_path)}
    address = find_daemon(f"unix:{tmp_path}/mailroom.sock")
    (tmp_path / "addresses").write_text(json.dumps([address.text]))
    with (tmp_path / "mailroomd.lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        assert running_daemon_pid(address, environ) is None
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert running_daemon_pid(address, environ) == 4711
        assert running_daemon_pid(find_daemon("127.0.0.1:1"), environ) is None
        (tmp_path / "addresses").write_text("{}")
        assert running_daemon_pid(address, environ) is None


def test_a_lost_socket_is_named_instead_of_a_missing_daemon(tmp_path: Path) -> None:
    lost = DaemonNotRunning(f"unix:{tmp_path}/mailroom.sock", running_pid=4711)
    assert lost.message.startswith("mailroomd (pid 4711) is running, but its socket is gone: ")
    (tmp_path / "mailroom.sock").touch()
    silent = DaemonNotRunning(f"unix:{tmp_path}/mailroom.sock", running_pid=4711)
    assert "is running, but does not answer at" in silent.message
    assert "Start it with" not in lost.message + silent.message


@pytest.mark.parametrize("pid", [None, 4711])
def test_a_process_that_may_not_connect_is_told_so(pid: int | None) -> None:
    """In a sandbox it was told to start the daemon, which was running."""
    address, cause = "unix:/run/mailroom.sock", "Operation not permitted"
    by_grpc = DaemonNotRunning(address, cause=cause, running_pid=pid)
    by_search = DaemonNotRunning(address, tried=(f"/run/mailroom.sock ({cause.lower()})",), running_pid=pid)
    for error in (by_grpc, by_search):
        assert error.message.startswith(f"This process may not connect to the Mailroom daemon at {address}")
        assert "tools of the MCP server mailroom" in error.message
        assert "Start it with" not in error.message


def test_a_socket_path_that_is_too_long_is_refused_with_its_length(tmp_path: Path) -> None:
    path = "/" + "x" * 107
    with pytest.raises(InvalidArgument, match=r"has 108 bytes, a socket's path at most 107"):
        find_daemon(f"unix:{path}")
    assert find_daemon(f"unix:{path[:-1]}").text == f"unix:{path[:-1]}"
    with pytest.raises(InvalidArgument, match=r"state directory's socket: .* at most 107"):
        find_daemon(environ={"MAILROOM_STATE_DIR": str(tmp_path / ("y" * 100))})


def test_without_a_home_directory_a_default_is_refused_and_a_given_address_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(InvalidArgument, match="no home directory"):
        find_daemon(environ={})
    address = find_daemon("unix:/run/mailroom.sock", {})
    assert (address.text, running_daemon_pid(address, {})) == ("unix:/run/mailroom.sock", None)
