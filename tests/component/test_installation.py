"""The operator tools find the daemon's directories by the daemon's own rules."""

import os
from pathlib import Path

import pytest
from mailroom.errors import InvalidArgument
from mailroomd.operator.doctor import configuration
from mailroomd.operator.installation import Installation


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file that MAILROOM_CONFIG names; no other variable of Mailroom is set."""
    for name in [name for name in os.environ if name.startswith(("MAILROOM_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MAILROOM_CONFIG", str(tmp_path / "mailroomd.toml"))
    return tmp_path / "mailroomd.toml"


def test_the_installation_comes_from_options_environment_file_or_defaults(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(f'root = "{tmp_path}/file"\nstate-dir = "{tmp_path}/file-state"\n')
    in_file = Installation.find()
    assert (in_file.root, in_file.state_dir) == (tmp_path / "file", tmp_path / "file-state")
    assert in_file.address.text == f"unix:{tmp_path}/file-state/mailroom.sock"
    assert in_file.configuration_error == ""
    monkeypatch.setenv("MAILROOM_ROOT", f"{tmp_path}/env")
    assert Installation.find().root == tmp_path / "env"
    assert Installation.find(root="/given").root == Path("/given")
    with pytest.raises(InvalidArgument):
        Installation.find(address="bogus")


def test_an_invalid_configuration_is_a_problem_and_other_checks_still_work(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("not toml")
    broken = Installation.find()
    assert broken.root == Path.home() / ".claude"
    [finding] = configuration.check(broken)
    assert finding.summary.startswith(f"{config} is not valid TOML")
    monkeypatch.setenv("MAILROOM_ROOT", f"{tmp_path}/env")
    assert Installation.find(state_dir="/given").root == tmp_path / "env"
    assert Installation.find(state_dir="/given").state_dir == Path("/given")
