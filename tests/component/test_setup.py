"""Setting up Claude Code and Codex: our entries come and go, and nothing else in the files changes."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mailroom_apps.setup import claude_code, codex
from mailroom_apps.setup.change import Change, SetupError
from mailroom_apps.setup.claude_code import Wish

COMMAND = "/opt/with space/bin/mailroom"
OTHERS = """{
    // mine, keep
    "model": "opus", "permissions": { "allow": ["Bash(mailroom inbox:*)"] },
    "hooks": {
       "Stop":   [ {"hooks": [ {"type": "command", "command": "notify-send done"} ] } ], // theirs
       "PostToolUse": [
           {
               "matcher": "Edit|Write",
               "hooks": [ {"type": "command", "command": "prettier --write"},
                          {"type": "command", "command": "my-mailroom hook"} ]
           },
       ],
       "Notification": []
    },
    "unknown": {"deep": [1, 2.50, 1e3]}
}
"""
CONFIG = """# my settings
model = "gpt"   # the good one

[mcp_servers.docs]   # theirs
command = "docs"
args = [ "a",  "b" ]

[profiles.fast]
model = "small"
"""


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    return Wish(tmp_path, for_user=False, agent="bob", command=(COMMAND,))


def settings_of(wish: Wish) -> Path:
    return wish.directory / ".claude" / "settings.json"


def put(path: Path, text: str, mode: int = 0o640) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    path.chmod(mode)


def make(changes: Sequence[Change]) -> int:
    """Makes changes; returns how many were needed."""
    needed = [change for change in changes if change.is_needed]
    for change in needed:
        change.write()
    return len(needed)


def handlers(path: Path, event: str) -> list[Any]:
    return [one for group in json.loads(path.read_bytes())["hooks"][event] for one in group["hooks"]]


def test_claude_code_gets_a_server_four_hooks_and_a_doorbell(wish: Wish) -> None:
    assert make(claude_code.plan(wish)) == 2
    servers = json.loads((wish.directory / ".mcp.json").read_bytes())
    assert servers == {
        "mcpServers": {"mailroom": {"command": COMMAND, "args": ["mcp"], "env": {"MAILROOM_AGENT": "bob"}}}
    }
    for event in ("SessionStart", "UserPromptSubmit", "PostToolUse", "Stop"):
        assert handlers(settings_of(wish), event)[0]["command"] == f"'{COMMAND}' hook --agent bob"
    doorbell = handlers(settings_of(wish), "Stop")[1]
    assert doorbell["command"] == f"'{COMMAND}' doorbell --agent bob"
    assert doorbell["asyncRewake"] is True
    assert doorbell["timeout"] > 24 * 3600


def test_without_a_name_the_session_is_the_agent(wish: Wish) -> None:
    make(claude_code.plan(replace(wish, agent=None)))
    assert "MAILROOM_AGENT" not in (wish.directory / ".mcp.json").read_text()
    assert handlers(settings_of(wish), "Stop")[0]["command"] == f"'{COMMAND}' hook"


def test_setting_up_twice_changes_nothing_and_another_name_only_the_name(wish: Wish) -> None:
    put(settings_of(wish), OTHERS)
    make(claude_code.plan(wish))
    before = settings_of(wish).read_text()
    assert make(claude_code.plan(wish)) == 0
    assert make(claude_code.plan(replace(wish, agent="eve"))) == 2
    assert settings_of(wish).read_text() == before.replace("bob", "eve")


def test_removing_takes_away_ours_and_leaves_the_rest_byte_for_byte(wish: Wish) -> None:
    put(settings_of(wish), OTHERS)
    put(wish.directory / ".mcp.json", '{"mcpServers":{"other":{"command":"x"}}}')
    assert make(claude_code.plan(wish)) == 2
    assert '"command": "notify-send done"} ] }, {"hooks": [' in settings_of(wish).read_text()
    kept = [line for line in OTHERS.splitlines() if '"Stop"' not in line and '"Notification"' not in line]
    assert set(kept) <= set(settings_of(wish).read_text().splitlines())
    assert make(claude_code.plan(replace(wish, remove=True, agent=None))) == 2
    assert settings_of(wish).read_text() == OTHERS
    assert settings_of(wish).stat().st_mode & 0o777 == 0o640
    assert (wish.directory / ".mcp.json").read_text() == '{"mcpServers":{"other":{"command":"x"}}}'
    assert make(claude_code.plan(replace(wish, remove=True))) == 0


def test_files_that_held_nothing_but_ours_go(wish: Wish) -> None:
    assert make(claude_code.plan(replace(wish, remove=True))) == 0
    make(claude_code.plan(wish))
    assert make(claude_code.plan(replace(wish, remove=True))) == 2
    assert not (wish.directory / ".mcp.json").exists()
    assert not settings_of(wish).exists()


def test_ours_goes_from_a_group_that_somebody_has_moved_it_to(wish: Wish) -> None:
    moved = {
        "hooks": {"PostToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "/x/mailroom hook"}]}]}
    }
    put(settings_of(wish), json.dumps({"model": "opus", **moved}))
    make(claude_code.plan(replace(wish, remove=True)))
    assert json.loads(settings_of(wish).read_bytes()) == {"model": "opus"}


@pytest.mark.parametrize(
    "text", ["{", "[]", '"x"', '{"hooks": []}', '{"hooks": {"Stop": {}}}', '{"a": 1}}', "{'single': 1}"]
)
def test_a_file_that_is_not_understood_is_refused_and_untouched(wish: Wish, text: str) -> None:
    put(settings_of(wish), text)
    with pytest.raises(SetupError, match=r"settings\.json"):
        make(claude_code.plan(wish))
    assert settings_of(wish).read_text() == text
    assert not (wish.directory / ".mcp.json").exists()


def test_a_file_that_is_not_utf_8_is_refused(wish: Wish) -> None:
    settings_of(wish).parent.mkdir()
    settings_of(wish).write_bytes(b'{"a": "\xff"}')
    with pytest.raises(SetupError, match="UTF-8"):
        claude_code.plan(wish)


def test_a_server_of_our_name_that_is_not_ours_is_left_alone(wish: Wish) -> None:
    theirs = '{"mcpServers": {"mailroom": {"command": "postfix"}}}'
    put(wish.directory / ".mcp.json", theirs)
    with pytest.raises(SetupError, match="not ours"):
        claude_code.plan(wish)
    make(claude_code.plan(replace(wish, remove=True)))
    assert (wish.directory / ".mcp.json").read_text() == theirs


def test_a_link_stays_a_link(wish: Wish) -> None:
    kept = wish.directory / "dotfiles" / "settings.json"
    put(kept, OTHERS)
    settings_of(wish).parent.mkdir()
    settings_of(wish).symlink_to(kept)
    make(claude_code.plan(wish))
    assert settings_of(wish).is_symlink()
    assert "mailroom hook" in kept.read_text() or "mailroom' hook" in kept.read_text()


def test_a_file_that_changes_meanwhile_is_not_overwritten(wish: Wish) -> None:
    put(settings_of(wish), "{}")
    changes = claude_code.plan(wish)
    put(settings_of(wish), '{"new": 1}')
    with pytest.raises(SetupError, match="changed by somebody else"):
        make(changes)
    assert settings_of(wish).read_text() == '{"new": 1}'


def test_users_files_are_where_claude_code_has_them(wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(wish.directory))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    user = replace(wish, for_user=True)
    assert [change.path.relative_to(wish.directory) for change in claude_code.plan(user)] == [
        Path(".claude.json"),
        Path(".claude/settings.json"),
    ]
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "/elsewhere")
    assert {change.path.parent for change in claude_code.plan(user)} == {Path("/elsewhere")}


def test_codex_keeps_comments_and_order(wish: Wish) -> None:
    path = wish.directory / ".codex" / "config.toml"
    put(path, CONFIG)
    assert make(codex.plan(wish)) == 1
    settings = tomllib.loads(path.read_text())
    ours = settings["mcp_servers"].pop("mailroom")
    assert ours == {"command": COMMAND, "args": ["mcp"], "env": {"MAILROOM_AGENT": "bob"}}
    assert settings == tomllib.loads(CONFIG)
    for line in CONFIG.splitlines():
        assert line in path.read_text().splitlines()
    assert make(codex.plan(wish)) == 0
    assert make(codex.plan(replace(wish, agent="eve"))) == 1
    assert make(codex.plan(replace(wish, remove=True))) == 1
    assert path.read_text() == CONFIG


def test_codex_settings_that_are_no_toml_are_refused(wish: Wish) -> None:
    put(wish.directory / ".codex" / "config.toml", "model = ")
    with pytest.raises(SetupError, match="no TOML"):
        codex.plan(wish)


def cli(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mailroom_apps", "setup", *arguments],
        cwd=directory,
        env={**os.environ, "HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_shows_the_change_and_writes_only_when_told(tmp_path: Path) -> None:
    shown = cli(tmp_path, "claude-code", "--agent", "bob", "--dry-run")
    assert (shown.returncode, list(tmp_path.iterdir())) == (0, [])
    assert '+      "command": "' in shown.stdout
    asked = cli(tmp_path, "claude-code", "--agent", "bob")
    assert (asked.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "--yes" in asked.stderr
    done = cli(tmp_path, "claude-code", "--agent", "bob", "--yes")
    assert done.returncode == 0
    assert done.stdout == shown.stdout
    written = json.loads((tmp_path / ".mcp.json").read_bytes())["mcpServers"]["mailroom"]["command"]
    assert Path(written).is_absolute()
    assert os.access(written, os.X_OK)


def test_generic_settings_are_printed_and_wrong_names_refused(tmp_path: Path) -> None:
    assert '"MAILROOM_AGENT": "bob"' in cli(tmp_path, "generic", "--agent", "bob").stdout
    refused = cli(tmp_path, "generic", "--agent", "../bob")
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
