"""Setting up Claude Code and Codex: only our own entries change."""

import json
import os
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mailroom_apps.setup import claude_code, claude_plugin, codex, gemini, gemini_extension, opencode, qwen
from mailroom_apps.setup.change import Change, SetupError
from mailroom_apps.setup.check import check_programs
from mailroom_apps.setup.json_text import JsonText
from mailroom_apps.setup.options import SetupOptions

pytestmark = pytest.mark.slow

SECRET = "s3cr3t-of-another-server"
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
def options(tmp_path: Path) -> SetupOptions:
    return SetupOptions(tmp_path, for_user=False, agent="bob", command=(COMMAND,))


def settings_of(options: SetupOptions) -> Path:
    return options.directory / ".claude" / "settings.json"


def put(path: Path, text: str, mode: int = 0o640) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    path.chmod(mode)


def write(changes: Sequence[Change]) -> int:
    """Writes the changes; returns how many were needed."""
    needed = [change for change in changes if change.is_needed]
    for change in needed:
        change.write()
    return len(needed)


def handlers(path: Path, event: str) -> list[Any]:
    return [handler for group in json.loads(path.read_bytes())["hooks"][event] for handler in group["hooks"]]


def test_claude_code_gets_a_server_hooks_doorbells_and_a_rule(options: SetupOptions) -> None:
    assert write(claude_code.plan(options)) == 2
    servers = json.loads((options.directory / ".mcp.json").read_bytes())
    assert servers == {
        "mcpServers": {"mailroom": {"command": COMMAND, "args": ["mcp"], "env": {"MAILROOM_AGENT": "bob"}}}
    }
    words = "--dialect claude-code --agent bob"
    for event in ("SessionStart", "UserPromptSubmit", "PostToolBatch", "Stop", "SessionEnd"):
        assert handlers(settings_of(options), event)[0]["command"] == f"'{COMMAND}' hook {words}"
    for event in ("SessionStart", "UserPromptSubmit", "Stop"):
        doorbell = handlers(settings_of(options), event)[1]
        assert doorbell["command"] == f"'{COMMAND}' doorbell {words}"
        assert doorbell["asyncRewake"] is True
        assert doorbell["timeout"] > 24 * 3600
    allowed = json.loads(settings_of(options).read_bytes())["permissions"]["allow"]
    assert allowed == ["mcp__mailroom__*"]  # a woken session may have nobody to ask


def test_without_a_name_the_session_is_the_agent(options: SetupOptions) -> None:
    write(claude_code.plan(replace(options, agent=None)))
    assert "MAILROOM_AGENT" not in (options.directory / ".mcp.json").read_text()
    assert handlers(settings_of(options), "Stop")[0]["command"] == f"'{COMMAND}' hook --dialect claude-code"


def test_setting_up_again_changes_at_most_the_name(options: SetupOptions) -> None:
    put(settings_of(options), OTHERS)
    write(claude_code.plan(options))
    before = settings_of(options).read_text()
    assert write(claude_code.plan(options)) == 0
    assert write(claude_code.plan(replace(options, agent="eve"))) == 2
    assert settings_of(options).read_text() == before.replace("bob", "eve")


OLDER = {
    event: [{"hooks": [{"type": "command", "command": "/old/mailroom hook --agent bob", "timeout": 10}]}]
    for event in ("SessionStart", "UserPromptSubmit", "PostToolUse")
}


def test_entries_of_an_older_version_are_replaced(options: SetupOptions) -> None:
    put(settings_of(options), json.dumps({"hooks": OLDER, "model": "opus"}, indent=2))
    write(claude_code.plan(options))
    written = settings_of(options).read_text()
    assert "/old/" not in written
    assert "PostToolUse" not in json.loads(written)["hooks"]
    write(claude_code.plan(replace(options, remove=True)))
    assert json.loads(settings_of(options).read_bytes()) == {"model": "opus"}


def test_what_was_added_to_our_own_entries_is_kept(options: SetupOptions) -> None:
    servers = options.directory / ".mcp.json"
    write(claude_code.plan(options))
    entry = json.loads(servers.read_bytes())
    entry["mcpServers"]["mailroom"]["env"]["KEY"] = SECRET
    entry["mcpServers"]["mailroom"]["timeout"] = 5
    put(servers, json.dumps(entry))
    hooks = json.loads(settings_of(options).read_bytes())
    hooks["hooks"]["Stop"][0]["hooks"][0] |= {"timeout": 99, "statusMessage": "mail?"}
    put(settings_of(options), json.dumps(hooks))
    changes = claude_code.plan(replace(options, agent="eve"))
    assert SECRET not in "".join(change.describe() for change in changes)
    assert write(changes) == 2
    entry["mcpServers"]["mailroom"]["env"]["MAILROOM_AGENT"] = "eve"
    assert json.loads(servers.read_bytes()) == entry
    handler = handlers(settings_of(options), "Stop")[0]
    assert (handler["timeout"], handler["statusMessage"]) == (99, "mail?")
    assert handler["command"].endswith("--agent eve")
    write(claude_code.plan(replace(options, agent=None)))
    assert json.loads(servers.read_bytes())["mcpServers"]["mailroom"]["env"] == {"KEY": SECRET}


def test_removing_restores_the_file_byte_for_byte(options: SetupOptions) -> None:
    put(settings_of(options), OTHERS)
    put(options.directory / ".mcp.json", '{"mcpServers":{"other":{"command":"x"}}}')
    assert write(claude_code.plan(options)) == 2
    assert '"command": "notify-send done"} ] }, {"hooks": [' in settings_of(options).read_text()
    changed = ('"Stop"', '"Notification"', '"permissions"')
    kept = [line for line in OTHERS.splitlines() if not any(key in line for key in changed)]
    assert set(kept) <= set(settings_of(options).read_text().splitlines())
    assert write(claude_code.plan(replace(options, remove=True, agent=None))) == 2
    assert settings_of(options).read_text() == OTHERS
    assert settings_of(options).stat().st_mode & 0o777 == 0o640
    assert (options.directory / ".mcp.json").read_text() == '{"mcpServers":{"other":{"command":"x"}}}'
    assert write(claude_code.plan(replace(options, remove=True))) == 0


def test_files_that_held_only_our_entries_are_removed(options: SetupOptions) -> None:
    assert write(claude_code.plan(replace(options, remove=True))) == 0
    write(claude_code.plan(options))
    assert write(claude_code.plan(replace(options, remove=True))) == 2
    assert not (options.directory / ".mcp.json").exists()
    assert list(options.directory.iterdir()) == []


def test_our_hook_is_removed_from_a_group_that_the_user_moved_it_to(options: SetupOptions) -> None:
    moved = {
        "hooks": {"PostToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "/x/mailroom hook"}]}]}
    }
    put(settings_of(options), json.dumps({"model": "opus", **moved}))
    write(claude_code.plan(replace(options, remove=True)))
    assert json.loads(settings_of(options).read_bytes()) == {"model": "opus"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".claude/settings.json", '{"hooks": null, "model": "opus"}'),
        (".claude/settings.json", '{\n  "model": "opus",\n  "hooks": {\n    "Stop": null\n  }\n}\n'),
        (".mcp.json", '{"model": "opus", "mcpServers": null}'),
        (".mcp.json", '{"mcpServers": {"mailroom": null}, "model": "opus"}'),
    ],
)
def test_null_is_replaced_and_everything_is_removed_again(options: SetupOptions, name: str, text: str) -> None:
    put(options.directory / name, text)
    write(claude_code.plan(options))
    assert write(claude_code.plan(options)) == 0
    pairs: list[list[str]] = []
    json.loads(
        (options.directory / name).read_text(), object_pairs_hook=lambda items: pairs.append([k for k, _ in items])
    )
    assert all(len(keys) == len(set(keys)) for keys in pairs)
    write(claude_code.plan(replace(options, remove=True)))
    assert json.loads((options.directory / name).read_text()) == {"model": "opus"}


HUGE = f'{{"n": {"1" * 5000}, "hooks": {{"Stop": [{{"n": -{"9" * 5000}}}]}}, "deep": {"[" * 900}{"]" * 900}}}'


@pytest.mark.parametrize("text", [HUGE, HUGE.replace("{", "{ // mine\n", 3)], ids=["plain", "with comments"])
def test_huge_numbers_and_deep_values_are_kept_byte_for_byte(options: SetupOptions, text: str) -> None:
    if "//" in text:
        text = text.replace("[" * 900 + "]" * 900, "[" * 300 + "]" * 300)
    put(settings_of(options), text)
    assert write(claude_code.plan(options)) == 2
    assert write(claude_code.plan(options)) == 0
    write(claude_code.plan(replace(options, remove=True)))
    assert settings_of(options).read_text() == text


def test_a_large_file_costs_little_more_than_parsing_it_a_few_times(options: SetupOptions) -> None:
    history = [{"display": "x" * 50}] * 20
    text = json.dumps(
        {"projects": {f"/p/{number}": {"history": history, "n": number} for number in range(1000)}}, indent=2
    )
    put(settings_of(options), text)

    def cpu_sec(work: Callable[[], object]) -> float:
        begun = time.process_time()
        work()
        return time.process_time() - begun

    plain_sec = min(cpu_sec(lambda: json.loads(text)) for _ in range(5))
    assert (
        min(cpu_sec(lambda: claude_code.plan(options)) for _ in range(2)) < 100 * plain_sec
    )  # some 20 times; it was 280


@pytest.mark.parametrize(
    "text",
    [
        '{"hooks": {}, "hooks": {}}',
        '{"a": {"b": 1, "b": 2}}',
        '{"hooks": {"Stop": [], "Stop": []}}',
        '{"a": 1, "\\u0061": 2}',
    ],
)
def test_a_file_with_a_duplicate_key_is_refused_and_unchanged(options: SetupOptions, text: str) -> None:
    put(settings_of(options), text)
    for remove in (False, True):
        with pytest.raises(SetupError, match="occurs twice"):
            write(claude_code.plan(replace(options, remove=remove)))
    assert settings_of(options).read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '"x"',
        '{"hooks": []}',
        '{"hooks": {"Stop": {}}}',
        '{"a": 1}}',
        "{'single': 1}",
        '{"a": ' + "[" * 99_999,
    ],
    ids=lambda text: text[:30],
)
def test_a_file_that_cannot_be_parsed_is_refused_and_unchanged(options: SetupOptions, text: str) -> None:
    put(settings_of(options), text)
    with pytest.raises(SetupError, match=r"settings\.json"):
        write(claude_code.plan(options))
    assert settings_of(options).read_text() == text
    assert not (options.directory / ".mcp.json").exists()


def test_a_file_that_is_not_utf_8_is_refused(options: SetupOptions) -> None:
    settings_of(options).parent.mkdir()
    settings_of(options).write_bytes(b'{"a": "\xff"}')
    with pytest.raises(SetupError, match="UTF-8"):
        claude_code.plan(options)


def test_a_server_of_our_name_that_is_not_ours_is_left_alone(options: SetupOptions) -> None:
    theirs = '{"mcpServers": {"mailroom": {"command": "postfix"}}}'
    put(options.directory / ".mcp.json", theirs)
    with pytest.raises(SetupError, match="belongs to another program"):
        claude_code.plan(options)
    write(claude_code.plan(replace(options, remove=True)))
    assert (options.directory / ".mcp.json").read_text() == theirs


def test_a_link_stays_a_link(options: SetupOptions) -> None:
    kept = options.directory / "dotfiles" / "settings.json"
    put(kept, OTHERS)
    settings_of(options).parent.mkdir()
    settings_of(options).symlink_to(kept)
    write(claude_code.plan(options))
    assert settings_of(options).is_symlink()
    assert "mailroom hook" in kept.read_text() or "mailroom' hook" in kept.read_text()


def test_mode_owner_and_attributes_of_the_file_behind_a_link_are_kept(options: SetupOptions) -> None:
    kept = options.directory / "dotfiles" / "settings.json"
    put(kept, OTHERS, mode=0o604)
    with suppress(OSError):  # not every file system has user attributes
        os.setxattr(kept, "user.note", b"keep")
    if os.geteuid() == 0:
        os.chown(kept, 54321, 54321)
    before = kept.stat()
    attributes = {name: os.getxattr(kept, name) for name in os.listxattr(kept)}
    settings_of(options).parent.mkdir()
    settings_of(options).symlink_to(kept)
    assert write(claude_code.plan(options)) == 2
    after = kept.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert {name: os.getxattr(kept, name) for name in os.listxattr(kept)} == attributes


def test_a_file_that_changes_in_the_meantime_is_not_overwritten(options: SetupOptions) -> None:
    put(settings_of(options), "{}")
    changes = claude_code.plan(options)
    put(settings_of(options), '{"new": 1}')
    with pytest.raises(SetupError, match="another program has just changed it"):
        write(changes)
    assert settings_of(options).read_text() == '{"new": 1}'


def test_a_users_files_are_where_claude_code_reads_them(options: SetupOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(options.directory))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    user = replace(options, for_user=True)
    assert [change.path.relative_to(options.directory) for change in claude_code.plan(user)] == [
        Path(".claude.json"),
        Path(".claude/settings.json"),
    ]
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "/elsewhere")
    assert {change.path.parent for change in claude_code.plan(user)} == {Path("/elsewhere")}


def config_of(options: SetupOptions) -> Path:
    return options.directory / ".codex" / "config.toml"


def test_codex_gets_a_server_that_finds_the_daemon_hooks_and_a_doorbell(options: SetupOptions) -> None:
    assert write(codex.plan(options)) == 2
    ours = tomllib.loads(config_of(options).read_text())["mcp_servers"]["mailroom"]
    assert (ours["command"], ours["args"], ours["env"]) == (COMMAND, ["mcp"], {"MAILROOM_AGENT": "bob"})
    assert ours["required"] is True  # its first turn would come without the tools
    assert {"XDG_STATE_HOME", "MAILROOM_ADDRESS"} <= set(ours["env_vars"])  # it clears the environment
    hooks = options.directory / ".codex" / "hooks.json"
    for event in ("SessionStart", "UserPromptSubmit", "PostToolUse", "Stop"):
        assert handlers(hooks, event)[0]["command"] == f"'{COMMAND}' hook --dialect codex --agent bob"
    doorbell = handlers(hooks, "Stop")[1]
    assert doorbell["async"] is True
    assert shlex.split(doorbell["command"])[-2:] == ["--then", codex.WAKE]
    assert write(codex.plan(options)) == 0
    assert write(codex.plan(replace(options, remove=True))) == 2
    assert list(options.directory.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        CONFIG,
        CONFIG.replace("\n", "\r\n"),
        'mcp_servers.other.command = "true"\nmodel = "x"\n',
        'model = "x"',
        'model = "x"\n\n\n[tui]\nx = 1\n# the end\n\n',
        '[mcp_servers]\n[mcp_servers.o]\ncommand = "x"\n',
        '"mcp_servers".o.command = "x"  # [mcp_servers.mailroom]\n',
    ],
    ids=["plain", "CRLF", "dotted keys", "no final newline", "blank lines", "empty table", "quoted"],
)
def test_codex_settings_are_kept_and_restored_byte_for_byte(options: SetupOptions, text: str) -> None:
    put(config_of(options), text)
    assert write(codex.plan(options)) == 2
    settings = tomllib.loads(config_of(options).read_text())
    assert settings["mcp_servers"].pop("mailroom")["command"] == COMMAND
    before = tomllib.loads(text)
    assert settings == {**before, "mcp_servers": before.get("mcp_servers", {})}
    assert config_of(options).read_bytes().startswith(text.encode())
    assert write(codex.plan(options)) == 0
    assert write(codex.plan(replace(options, agent="eve"))) == 2
    with config_of(options).open("ab") as file:  # as Codex itself does
        file.write(b'\n[projects."/p"]\ntrust_level = "trusted"\n')
    write(codex.plan(replace(options, remove=True)))
    assert (
        config_of(options).read_bytes().removesuffix(b'\n[projects."/p"]\ntrust_level = "trusted"\n') == text.encode()
    )


def test_what_was_added_to_codexs_entry_is_kept(options: SetupOptions) -> None:
    older = (
        '[mcp_servers.mailroom]\ncommand = "/old/mailroom"\nargs = ["mcp"]\ntool_timeout_sec = 9 # mine\n'
        "required = false\n"
        '\n[mcp_servers.mailroom.env]\nKEY = "k"\nMAILROOM_AGENT = "old"\n'
        '\n[mcp_servers.mailroom.tools.send_message]\napproval_mode = "approve"\n\n[tui]\nx = 1\n'
    )
    put(config_of(options), older)
    changes = codex.plan(options)
    write(changes)
    assert "KEY" not in changes[0].describe()
    settings = tomllib.loads(config_of(options).read_text())
    ours = settings["mcp_servers"]["mailroom"]
    assert (ours["command"], ours["tool_timeout_sec"], ours["required"]) == (COMMAND, 9, False)
    assert ours["env"] == {"KEY": "k", "MAILROOM_AGENT": "bob"}
    assert ours["tools"] == {"send_message": {"approval_mode": "approve"}}
    assert "tool_timeout_sec = 9 # mine\n" in config_of(options).read_text()
    write(codex.plan(replace(options, agent=None)))
    assert tomllib.loads(config_of(options).read_text())["mcp_servers"]["mailroom"]["env"] == {"KEY": "k"}
    write(codex.plan(replace(options, remove=True)))
    assert config_of(options).read_text() == "\n[tui]\nx = 1\n"


def test_codex_settings_that_are_not_toml_are_refused(options: SetupOptions) -> None:
    put(options.directory / ".codex" / "config.toml", "model = ")
    with pytest.raises(SetupError, match="not valid TOML"):
        codex.plan(options)


@pytest.mark.parametrize(
    "text",
    [
        f"number = {'1' * 5000}\n",
        f"deep = {'[' * 99_999}\n",
        '\ufeffmodel = "gpt"\n',
        'mcp_servers = "no"\n',
        'mcp_servers.mailroom = "no"\n',
        "[[mcp_servers]]\n",
        '[mcp_servers]\nmailroom = ["no"]\n',
        '[mcp_servers.mailroom]\ncommand = "x"\nargs = "mcp"\n',
    ],
    ids=lambda text: text[:30],
)
def test_unusual_codex_settings_are_refused_with_a_sentence_and_unchanged(options: SetupOptions, text: str) -> None:
    path = options.directory / ".codex" / "config.toml"
    put(path, text)
    with pytest.raises(SetupError, match=r"config\.toml was not changed"):
        codex.plan(options)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = { o = { command = "x" } }\n',
        'mcp_servers = { mailroom = { command = "mailroom", args = ["mcp"] } }\n',
        'mcp_servers.mailroom.command = "mailroom"\nmcp_servers.mailroom.args = ["mcp"]\n',
        'x = """\n[mcp_servers.mailroom]\n"""\nmcp_servers.mailroom = {command = "mailroom", args = ["mcp"]}\n',
    ],
)
def test_codex_settings_that_cannot_be_edited_as_text_are_refused(options: SetupOptions, text: str) -> None:
    put(config_of(options), text)
    with pytest.raises(SetupError, match=r"config\.toml was not changed: .*by hand"):
        codex.plan(options)
    assert config_of(options).read_text() == text


JSON_PROGRAMS = {"gemini": (gemini, ".gemini", "AfterTool"), "qwen": (qwen, ".qwen", "PostToolUse")}


@pytest.mark.parametrize("name", JSON_PROGRAMS)
@pytest.mark.parametrize(
    "text",
    [
        None,
        OTHERS,
        '{"mcpServers":{"other":{"command":"x"}}}',
        '{\r\n  "theme": "dark" // mine\r\n}',
    ],
    ids=["no file", "others", "one line", "CRLF"],
)
def test_gemini_and_qwen_keep_everything_and_restore_it_byte_for_byte(
    options: SetupOptions, name: str, text: str | None
) -> None:
    module, directory, event = JSON_PROGRAMS[name]
    path = options.directory / directory / "settings.json"
    if text is not None:
        put(path, text)
    assert write(module.plan(options)) == 1
    document = JsonText(path.read_bytes().decode())
    server = document.get("mcpServers", "mailroom")
    assert (server["command"], server["trust"]) == (COMMAND, True)
    (handler,) = [
        handler
        for group in document.get("hooks", event)
        for handler in group["hooks"]
        if "--dialect" in handler["command"]
    ]
    assert handler["command"] == f"'{COMMAND}' hook --dialect {name} --agent bob"
    assert handler["timeout"] == 10_000  # milliseconds
    assert write(module.plan(options)) == 0
    assert write(module.plan(replace(options, agent="eve"))) == 1
    assert write(module.plan(replace(options, remove=True))) == 1
    if text is None:
        assert list(options.directory.iterdir()) == []
    else:
        assert path.read_bytes().decode() == text


def test_opencode_gets_a_plugin_file_and_a_foreign_one_is_left_alone(options: SetupOptions) -> None:
    path = options.directory / ".opencode" / "plugins" / "mailroom.js"
    assert write(opencode.plan(options)) == 1
    assert f'const COMMAND = ["{COMMAND}"]\nconst AGENT = "bob"\n' in path.read_text()
    assert write(opencode.plan(options)) == 0
    assert write(opencode.plan(replace(options, agent="eve"))) == 1
    assert write(opencode.plan(replace(options, remove=True))) == 1
    assert list(options.directory.iterdir()) == []
    put(path, "// somebody else's\n")
    with pytest.raises(SetupError, match="not a plugin of ours"):
        opencode.plan(options)
    assert write(opencode.plan(replace(options, remove=True))) == 0
    assert path.read_text() == "// somebody else's\n"


@pytest.mark.parametrize("program", ["claude-code", "codex", "gemini", "opencode", "qwen"])
def test_doctor_finds_what_is_missing_and_what_is_there_twice(
    options: SetupOptions, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(options.directory / "home"))
    project = options.directory / "project"
    project.mkdir()
    modules = {"claude-code": claude_code, "codex": codex, "gemini": gemini, "opencode": opencode, "qwen": qwen}
    plan = modules[program].plan
    assert list(check_programs(project)) == []
    here = replace(options, directory=project, command=("/nonexistent/mailroom",))
    write(plan(here))
    (found,) = check_programs(project)
    assert (found.summary, found.program) == ("its command /nonexistent/mailroom does not exist", program)
    assert found.advice == f"run mailroom setup {program} --project --agent bob"
    own = Path(sys.executable).with_name("mailroom")
    write(plan(replace(here, command=(str(own),))))
    (found,) = check_programs(project)
    unmet = {"codex": "nobody has agreed to its hooks", "claude-code": "nobody has approved its server in this project"}
    assert found.summary.startswith(unmet.get(program, "set up (project) as bob"))
    write(plan(replace(here, command=(str(own),), for_user=True)))
    assert "it is set up 2 times (--user, --project)" in list(check_programs(project))[-1].summary
    write(plan(replace(here, for_user=True, remove=True)))
    if program in ("claude-code", "codex"):
        plan(replace(here, remove=True))[1].write()
        (found,) = check_programs(project)
        assert found.summary.startswith("entries are missing or from another version")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def in_home(home: Path, options: SetupOptions) -> SetupOptions:
    """Returns what a user asks for in a project of hers."""
    own = str(Path(sys.executable).with_name("mailroom"))
    return replace(options, directory=home / "project", for_user=True, command=(own,))


def checked(options: SetupOptions) -> str:
    """Returns the one thing that the check says."""
    (found,) = check_programs(options.directory)
    return found.summary


def test_a_server_of_a_project_has_to_be_approved(home: Path, options: SetupOptions) -> None:
    here = replace(in_home(home, options), for_user=False)
    write(claude_code.plan(here))
    local = here.directory / ".claude" / "settings.local.json"
    for approval in ({"enabledMcpjsonServers": ["mailroom"]}, {"enableAllProjectMcpServers": True}):
        local.unlink(missing_ok=True)
        assert checked(here) == "nobody has approved its server in this project yet"
        put(local, json.dumps(approval))
        assert checked(here) == "set up (project) as bob"
    local.unlink()
    projects = {str(here.directory): {"enabledMcpjsonServers": ["mailroom"]}}
    put(home / ".claude.json", json.dumps({"projects": projects}))
    assert checked(here) == "set up (project) as bob"
    put(local, json.dumps({"disabledMcpjsonServers": ["mailroom"]}))
    assert checked(here) == "its server was refused in this project"


def test_a_plugin_has_to_be_installed_and_is_not_needed_twice(home: Path, options: SetupOptions) -> None:
    own = in_home(home, options)
    write(claude_plugin.plan(own))
    assert checked(own) == "its plugin is made, but not installed"
    settings = home / ".claude" / "settings.json"
    put(settings, json.dumps(json.loads(settings.read_bytes()) | {"enabledPlugins": {"mailroom@mailroom": True}}))
    assert checked(own) == "set up (plugin) as bob"
    write(claude_code.plan(own))
    assert list(check_programs(home))[-1].summary.startswith("it is set up 2 times (--user, --plugin)")


def test_gemini_needs_trust_or_a_policy(home: Path, options: SetupOptions) -> None:
    own = in_home(home, options)
    write(gemini.plan(own))
    assert checked(own) == "set up (user) as bob"
    settings = home / ".gemini" / "settings.json"
    put(settings, settings.read_text().replace('"trust": true', '"trust": false'))
    assert checked(own).startswith("its server is not trusted")
    put(home / ".gemini" / "policies" / "mailroom.toml", gemini_extension.POLICY)
    assert checked(own) == "set up (user) as bob"


def test_gemini_on_call_waits_after_each_answer(home: Path, options: SetupOptions) -> None:
    own = in_home(home, options)
    write(gemini.plan(replace(own, on_call=True)))
    hook, doorbell = handlers(home / ".gemini" / "settings.json", "AfterAgent")
    assert " hook " in hook["command"]
    assert " doorbell " in doorbell["command"]
    assert doorbell["timeout"] > 24 * 3_600_000
    assert checked(own) == "set up (user) as bob", "the doctor asks for no other setup"
    assert write(gemini.plan(own)) == 1
    assert len(handlers(home / ".gemini" / "settings.json", "AfterAgent")) == 1


def test_codex_has_to_be_on_path(home: Path, options: SetupOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    own = in_home(home, options)
    write(codex.plan(own))
    config = home / ".codex" / "config.toml"
    put(config, f'{config.read_text()}\n[hooks.state."{home}/.codex/hooks.json:stop:0:0"]\ntrusted_hash = "x"\n')
    monkeypatch.setenv("PATH", str(home))
    assert checked(own).startswith("`codex` is not on PATH")
    put(home / "codex", "", 0o700)
    assert checked(own) == "set up (user) as bob"


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


def test_the_command_shows_the_change_and_writes_only_with_consent(tmp_path: Path) -> None:
    dry = cli(tmp_path, "claude-code", "--agent", "bob", "--dry-run")
    assert (dry.returncode, list(tmp_path.iterdir())) == (0, [])
    assert '+ mcpServers.mailroom = {\n+   "command": "' in dry.stdout
    assert '+ hooks.PostToolBatch = {\n+   "type": "command",' in dry.stdout
    asked = cli(tmp_path, "claude-code", "--agent", "bob")
    assert (asked.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "--yes" in asked.stderr
    done = cli(tmp_path, "claude-code", "--agent", "bob", "--yes")
    assert done.returncode == 0
    assert done.stdout == dry.stdout
    written = json.loads((tmp_path / ".mcp.json").read_bytes())["mcpServers"]["mailroom"]["command"]
    assert Path(written).is_absolute()
    assert os.access(written, os.X_OK)


@pytest.mark.parametrize("indent", [None, 2])
def test_the_command_prints_no_entry_of_another_program(tmp_path: Path, indent: int | None) -> None:
    other = {"command": "x", "env": {"KEY": SECRET}}
    ours = {"command": "/x/mailroom", "args": ["mcp"], "env": {"EXTRA": SECRET}}
    for servers in ({"other": other}, {"other": other, "mailroom": ours}):
        put(tmp_path / ".mcp.json", json.dumps({"mcpServers": servers}, indent=indent))
        put(tmp_path / ".claude" / "settings.json", json.dumps({"env": {"KEY": SECRET}}, indent=indent))
        for arguments in (("--agent", "bob", "--dry-run"), ("--agent", "bob", "--yes"), ("--remove", "--yes")):
            done = cli(tmp_path, "claude-code", *arguments)
            assert done.returncode == 0
            assert "mcpServers.mailroom" in done.stdout
            assert SECRET not in done.stdout + done.stderr
    put(tmp_path / ".codex" / "config.toml", f'[mcp_servers.other]\ncommand = "x"\nenv = {{KEY = "{SECRET}"}}\n')
    done = cli(tmp_path, "codex", "--project", "--agent", "bob", "--yes")
    assert "+ mcp_servers.mailroom = {" in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("broken", ['{"KEY": %s}', '{"KEY": "a" %s}', "{%s: 1}", '{"a": 1} %s'])
def test_the_error_about_a_broken_file_does_not_quote_it(tmp_path: Path, broken: str) -> None:
    put(tmp_path / ".mcp.json", broken % SECRET)
    done = cli(tmp_path, "claude-code", "--yes")
    assert done.returncode == 1
    assert ".mcp.json was not changed: it is not valid JSON (line 1: " in done.stderr
    assert SECRET[:6] not in done.stdout + done.stderr


@pytest.mark.parametrize("linked", [".claude", ".claude/settings.json", ".mcp.json"])
def test_a_link_out_of_the_project_is_shown_and_yes_is_not_enough(tmp_path: Path, linked: str) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    target = elsewhere / linked
    put(target / "settings.json" if linked == ".claude" else target, "{}")
    (project / linked).parent.mkdir(parents=True)
    (project / linked).symlink_to(target)
    done = cli(project, "claude-code", "--agent", "bob", "--yes")
    assert done.returncode == 1
    assert f"leads out of the project, to {target}" in done.stderr
    assert f" -> {target}" in done.stdout
    assert "run this in a terminal to agree" in done.stderr
    assert [path.read_text() for path in elsewhere.rglob("*.json")] == ["{}"]
    assert cli_in_terminal(project, "y\n", "claude-code", "--agent", "bob", "--yes") == 0
    assert "mailroom" in next(elsewhere.rglob("*.json")).read_text()


def test_a_link_within_the_project_needs_no_more_than_yes(tmp_path: Path) -> None:
    put(tmp_path / "shared" / "settings.json", "{}")
    (tmp_path / ".claude").symlink_to("shared")
    done = cli(tmp_path, "claude-code", "--agent", "bob", "--yes")
    assert done.returncode == 0
    assert f".claude/settings.json -> {tmp_path}/shared/settings.json" in done.stdout


def cli_in_terminal(directory: Path, typed: str, *arguments: str) -> int:
    """Runs the command with a terminal as its standard input; returns its exit code."""
    terminal, stdin = os.openpty()
    try:
        os.write(terminal, typed.encode())
        return subprocess.run(
            [sys.executable, "-m", "mailroom_apps", "setup", *arguments],
            cwd=directory,
            env={**os.environ, "HOME": str(directory)},
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        ).returncode
    finally:
        os.close(terminal)
        os.close(stdin)


def test_generic_settings_are_printed_and_wrong_names_refused(tmp_path: Path) -> None:
    printed = cli(tmp_path, "generic", "--agent", "bob").stdout
    assert '"MAILROOM_AGENT": "bob"' in printed
    table = printed[printed.index("[mcp_servers.mailroom]") : printed.index("Without MCP")]
    server = tomllib.loads(table)["mcp_servers"]["mailroom"]
    assert (server["env"], server["required"], server["args"][-1]) == ({"MAILROOM_AGENT": "bob"}, True, "mcp")
    refused = cli(tmp_path, "generic", "--agent", "../bob")
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)


def files_below(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_the_plugin_is_a_marketplace_of_its_own(tmp_path: Path) -> None:
    put(tmp_path / ".claude" / "settings.json", '{"model": "opus"}')
    before = files_below(tmp_path)
    done = cli(tmp_path, "claude-code", "--plugin", "--agent", "bob", "--yes")
    directory = tmp_path / ".local" / "share" / "mailroom" / "claude-code"
    assert f"claude plugin marketplace add {directory} && claude plugin install mailroom@mailroom" in done.stderr
    marketplace = json.loads((directory / ".claude-plugin" / "marketplace.json").read_bytes())
    [listed] = marketplace["plugins"]
    plugin = directory / listed["source"]
    assert json.loads((plugin / ".claude-plugin" / "plugin.json").read_bytes())["name"] == listed["name"] == "mailroom"
    server = json.loads((plugin / ".mcp.json").read_bytes())["mcpServers"]["mailroom"]
    assert server["env"] == {"MAILROOM_AGENT": "bob"}
    assert len(handlers(plugin / "hooks" / "hooks.json", "Stop")) == 2
    assert (plugin / "skills" / "mail" / "SKILL.md").read_text().startswith("---\nname: mail\n")
    rules = json.loads((tmp_path / ".claude" / "settings.json").read_bytes())["permissions"]["allow"]
    assert rules == ["mcp__plugin_mailroom_mailroom__*"]
    assert "nothing to change" in cli(tmp_path, "claude-code", "--plugin", "--agent", "bob", "--yes").stderr
    assert "claude plugin uninstall" in cli(tmp_path, "claude-code", "--plugin", "--remove", "--yes").stderr
    assert files_below(tmp_path) == before
    assert list((tmp_path / ".local" / "share").iterdir()) == []


def test_the_extension_of_gemini_changes_no_file_of_the_user(tmp_path: Path) -> None:
    put(tmp_path / ".gemini" / "settings.json", "{}")
    before = files_below(tmp_path)
    assert cli(tmp_path, "gemini", "--extension", "--agent", "bob", "--yes").returncode == 0
    made = files_below(tmp_path)
    assert made.items() >= before.items()
    manifest = json.loads(made[".gemini/extensions/mailroom/gemini-extension.json"])
    assert manifest["mcpServers"]["mailroom"]["env"] == {"MAILROOM_AGENT": "bob"}
    assert "trust" not in manifest["mcpServers"]["mailroom"], "an extension cannot give it"
    assert tomllib.loads(made[".gemini/policies/mailroom.toml"])["rule"][0]["mcpName"] == "mailroom"
    assert cli(tmp_path, "gemini", "--extension", "--remove", "--yes").returncode == 0
    assert files_below(tmp_path) == before
    assert [path.name for path in (tmp_path / ".gemini").iterdir()] == ["settings.json"]


def test_a_file_of_somebody_else_in_the_place_of_ours_stays(tmp_path: Path) -> None:
    put(tmp_path / ".gemini" / "policies" / "mailroom.toml", "# mine\n")
    done = cli(tmp_path, "gemini", "--extension", "--yes")
    assert done.returncode == 1
    assert "policies/mailroom.toml was not changed: it is not a file of ours" in done.stderr
    assert files_below(tmp_path) == {".gemini/policies/mailroom.toml": "# mine\n"}
    assert cli(tmp_path, "gemini", "--extension", "--remove", "--yes").returncode == 0
    assert files_below(tmp_path) == {".gemini/policies/mailroom.toml": "# mine\n"}
