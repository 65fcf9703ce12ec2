"""A lost socket is noticed, and bound again only if no other process has taken its path."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.gateway.socket_watch import SocketWatch


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "run" / "s"
    path.parent.mkdir()
    with listen(path):
        yield path


@pytest.fixture
def watch(path: Path) -> SocketWatch:
    return SocketWatch([f"unix:{path}", "127.0.0.1:50051"])


def test_a_socket_in_its_place_needs_no_restart(watch: SocketWatch) -> None:
    assert not watch.needs_restart()


def test_a_removed_socket_needs_a_restart(watch: SocketWatch, path: Path) -> None:
    path.unlink()
    assert watch.needs_restart()


def test_a_removed_directory_is_created_again(watch: SocketWatch, path: Path) -> None:
    path.unlink()
    path.parent.rmdir()
    assert watch.needs_restart()
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_missing_parent_of_the_directory_is_waited_for(watch: SocketWatch, path: Path, tmp_path: Path) -> None:
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert not watch.needs_restart()
    moved.rename(tmp_path)
    assert not watch.needs_restart()
    path.unlink()
    assert watch.needs_restart()


def test_a_dead_socket_in_its_place_needs_a_restart(watch: SocketWatch, path: Path) -> None:
    path.unlink()
    listen(path).close()
    assert watch.needs_restart()


def test_another_processs_socket_or_file_is_left_alone(watch: SocketWatch, path: Path) -> None:
    path.unlink()
    with listen(path):
        assert not watch.needs_restart()
    path.unlink()
    path.write_text("a file")
    assert not watch.needs_restart()
    assert path.read_text() == "a file"
