"""Importing the contract loads only protobuf; importing the SDK loads nothing before it is used."""

import os
import subprocess
import sys
from pathlib import Path

import mailroom
import pytest

HEAVY = ("grpc", "typer", "rich", "click", "asyncio")


def modules_after(statement: str) -> set[str]:
    """Returns the top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    path = str(Path(mailroom.__path__[0]).parent)
    shown = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True
    )
    return set(shown.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import mailroom", "import mailroom.v1.mailroom_pb2", "from mailroom import errors, Message"]
)
def test_light_imports_load_nothing_heavy(statement: str) -> None:
    assert not modules_after(statement) & set(HEAVY)


def test_the_entry_point_imports_no_command_before_it_runs() -> None:
    assert not modules_after("import mailroom_apps.__main__") & {"typer", "rich", "grpc"}


def test_the_commands_load_slow_modules_only_when_needed() -> None:
    loaded = modules_after("import mailroom_apps.cli.app")
    assert "typer" in loaded
    assert not loaded & {"grpc", "google", "sqlite3", "tomllib"}


def test_every_exported_name_exists() -> None:
    for name in mailroom.__all__:
        assert getattr(mailroom, name)
    assert set(mailroom.__all__) <= set(dir(mailroom))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        mailroom.no_such_thing  # noqa: B018
