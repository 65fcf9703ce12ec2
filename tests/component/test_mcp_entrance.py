"""Starting `mailroom mcp` and its access control: token, endpoint, conflicting options, the missing extra."""

import asyncio
import json
import os
import subprocess
import sys
from operator import itemgetter
from pathlib import Path
from subprocess import PIPE

import pytest
from mailroom import InvalidArgument, PermissionDenied
from mailroom_apps.loopback import parse_endpoint
from mailroom_apps.mcp.bearer_token import SharedToken, load_token

pytestmark = pytest.mark.slow

TOKEN = "0123456789abcdef0123456789abcdef"
WITHOUT_THE_EXTRA = """
import sys
sys.modules["mcp_types"] = sys.modules["mcp"] = None  # as if they were not installed
from mailroom_apps.__main__ import main
sys.exit(main())
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_token_is_created_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "token"
    token = load_token(None, file)
    assert load_token(None, file) == token
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["token"]


def test_a_given_token_takes_precedence(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert load_token(TOKEN, file) == TOKEN
    assert not file.exists()


def test_what_root_creates_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    owner = (1234, 1235) if os.geteuid() == 0 else (os.geteuid(), os.getegid())  # only root gives files away
    os.chown(tmp_path, *owner)
    file = tmp_path / "state" / "mailroom" / "mcp-token"
    load_token(None, file)
    for path in (file, *file.parents[:2]):
        assert (path.stat().st_uid, path.stat().st_gid) == owner
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o640)
    with pytest.raises(PermissionDenied, match=f"chmod 600 {file}") as refused:
        load_token(None, file)
    assert refused.value.reason == "TOKEN_FILE_EXPOSED"


def test_a_token_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermissionDenied) as refused:
        load_token("secret", tmp_path / "token")
    assert refused.value.reason == "TOKEN_TOO_SHORT"


@pytest.mark.parametrize("shown", ["", TOKEN[:-1], TOKEN + "0", "ü", TOKEN.upper()])
def test_only_the_token_itself_is_accepted(shown: str) -> None:
    assert asyncio.run(SharedToken(TOKEN).verify_token(shown)) is None
    assert asyncio.run(SharedToken(TOKEN).verify_token(TOKEN)) is not None


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:8030", ("127.0.0.1", 8030)),
        ("localhost:0", ("127.0.0.1", 0)),
        ("[::1]:8030", ("::1", 8030)),
        ("127.8.8.8:1", ("127.8.8.8", 1)),
    ],
)
def test_a_loopback_endpoint_is_accepted(text: str, endpoint: tuple[str, int]) -> None:
    assert parse_endpoint(text, "--http") == endpoint


@pytest.mark.parametrize(
    "text", ["0.0.0.0:8030", "[::]:8030", "mail.example:80", "8030", "127.0.0.1:x", ":1", "127.0.0.1:65536"]
)
def test_any_other_endpoint_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_endpoint(text, "--http")
    assert refused.value.reason == "ENDPOINT_INVALID"


def test_without_the_extra_an_error_says_how_to_install_it() -> None:
    done = run("-c", WITHOUT_THE_EXTRA, "mcp")
    assert done.returncode == 1
    assert "pip install 'mailroomd[mcp]'" in done.stderr


def test_a_channel_needs_an_agent_and_stdio() -> None:
    done = run("-m", "mailroom_apps", "mcp", "--channel")
    assert done.returncode == 2
    assert "MAILROOM_AGENT" in done.stderr
    done = run("-m", "mailroom_apps", "mcp", "--channel", "--agent", "me", "--http", "127.0.0.1:0")
    assert done.returncode == 2
    assert "stdio" in done.stderr


def test_an_empty_agent_name_does_not_serve_all_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("-m", "mailroom_apps", "mcp", "--agent", "")
    assert done.returncode == 2
    assert "name is empty" in done.stderr
    monkeypatch.setenv("MAILROOM_AGENT", "")
    done = run("-m", "mailroom_apps", "mcp")
    assert done.returncode == 2
    assert "name is empty" in done.stderr


def test_on_stdio_a_line_that_cannot_be_parsed_is_answered_and_logged() -> None:
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}),
        '{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "cut \\ud83d"}}',
        "",
        json.dumps({"jsonrpc": "2.0", "id": 3, "method": "ping"}),
    ]
    command = [sys.executable, "-m", "mailroom_apps", "mcp", "--agent", "me", "--address", "unix:/nobody.sock"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join(lines) + "\n")
        process.stdin.flush()
        responses = sorted((json.loads(process.stdout.readline()) for _ in range(3)), key=itemgetter("id"))
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0
    assert [response["id"] for response in responses] == [1, 2, 3]
    assert responses[1]["error"]["code"] == -32700
    assert responses[2]["result"] == {}
    assert "invalid JSON-RPC message: the message cannot be parsed" in stderr


def test_only_this_command_loads_the_mcp_sdk() -> None:
    done = run("-c", "import mailroom_apps.cli.app, sys; print(*{name.partition('.')[0] for name in sys.modules})")
    assert not {"mcp", "mcp_types", "pydantic", "starlette", "uvicorn"} & set(done.stdout.split())
