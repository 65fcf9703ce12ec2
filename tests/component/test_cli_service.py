"""`mailroom service` and `mailroom config` without a service manager, and their output."""

import json
import os
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


def cli(home: Path, *words: str, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_", "DBUS_"))}
    environment = kept | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "TERM": "dumb", "COLUMNS": "120"}
    environment |= {"PATH": path} if path is not None else {}
    done = subprocess.run(
        [str(BIN / "mailroom"), *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_without_systemd_the_error_names_an_alternative(tmp_path: Path) -> None:
    done = cli(tmp_path, "service", "install", path=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "mailroom: systemd is not available (systemctl not found): "
        "start mailroomd by hand or from another service manager\n"
    )
    assert not (tmp_path / ".config").exists()


def test_if_systemd_does_not_respond_nothing_is_written(tmp_path: Path) -> None:
    done = cli(tmp_path, "service", "install")
    assert done.returncode == 1
    assert done.stderr.startswith("mailroom: the systemd user instance (systemctl --user) does not respond (")
    assert "log in as this user instead of using su or sudo" in done.stderr
    assert not (tmp_path / ".config").exists()


def test_a_dry_run_shows_the_unit_and_every_command_and_changes_nothing(tmp_path: Path) -> None:
    done = cli(tmp_path, "service", "install", "--dry-run")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"would write {tmp_path}/.config/systemd/user/mailroomd.service"
    assert f"    ExecStart={BIN / 'mailroomd'}" in lines
    assert lines[-1] == "would run systemctl --user restart mailroomd.service"
    assert list(tmp_path.iterdir()) == []


def test_config_show_prints_the_settings_of_mailroomd(tmp_path: Path) -> None:
    shown = json.loads(cli(tmp_path, "config", "show", "--json").stdout)
    assert shown["settings"]["root"] == {
        "value": f"{tmp_path}/.claude",
        "origin": "default",
        "place": "",
        "reloadable": False,
    }
    assert cli(tmp_path, "config", "example").stdout.startswith("# mailroomd.toml")


def test_config_check_passes_on_the_error_and_the_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("gateways = 0\n")
    done = cli(tmp_path, "config", "check", "--config", str(file))
    assert (done.returncode, done.stderr) == (78, f"mailroomd: gateways in {file} must be at least 1, not 0\n")
