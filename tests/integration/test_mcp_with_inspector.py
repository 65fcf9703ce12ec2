"""`mailroom mcp` with the MCP Inspector: a client in another language, in both generations of the protocol."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.harness.mcp_client import HttpServer, mailroom_command, running_http_server, send
from support.harness.waiting import BOUND_SEC

pytestmark = pytest.mark.system

PROJECT = Path(__file__).resolve().parents[2]
ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])
TOOL_FAILED = 5  # the Inspector's exit code for an error result


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with running_http_server() as running:
        yield running


@pytest.fixture(scope="session")
def inspector() -> list[str]:
    setup = subprocess.run([PROJECT / "scripts/need-npm", "inspector"], capture_output=True, text=True, timeout=100)
    assert setup.returncode == 0, setup.stderr
    program = f"{setup.stdout.strip()}/node_modules/.bin/mcp-inspector"
    patience = ["--connect-timeout", f"{BOUND_SEC * 1000:.0f}"]  # the server's start takes seconds on a busy machine
    return ["node", program, "--cli", "--format", "json", "--quiet", *patience]


def inspect(command: list[str], exit_code: int = 0) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * BOUND_SEC)
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout)["result"]


def over_http(inspector: list[str], server: HttpServer, era: str) -> list[str]:
    header = f"Authorization: Bearer {server.token}"
    return [*inspector, "--server-url", server.url, "--header", header, "--protocol-era", era]


def tool_call(tool: str, **arguments: object) -> list[str]:
    return ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]


def test_schemas_are_portable_and_do_not_ask_for_the_own_name(inspector: list[str], server: HttpServer) -> None:
    variables = ["-e", f"MAILROOM_ADDRESS={server.daemon.address}", "-e", "MAILROOM_AGENT=me"]
    wanted = ["--method", "tools/list", "--strict"]  # fails for schemas that some hosts do not accept
    listed = inspect([*inspector, mailroom_command(), "mcp", *variables, *wanted])
    names = [tool["name"] for tool in listed["tools"]]
    assert {"check_inbox", "acknowledge_message", "send_message", "reply", "broadcast"} <= set(names)
    for tool in listed["tools"]:
        assert not {"session_id", "from_session_id"} & tool["inputSchema"].get("properties", {}).keys()
        assert tool["outputSchema"]["type"] == "object"


@ERAS
def test_a_message_is_sent_and_found(inspector: list[str], server: HttpServer, era: str) -> None:
    command = over_http(inspector, server, era)
    message_id = send(server.daemon, f"inspected-{era}", "hello")
    result = inspect([*command, *tool_call("check_inbox", session_id=f"inspected-{era}")])
    assert [message["id"] for message in result["structuredContent"]["messages"]] == [message_id]
    read = inspect([*command, "--method", "resources/read", "--uri", f"mailroom://message/{message_id}"])
    assert json.loads(read["contents"][0]["text"])["message"]["content"] == "hello"


def test_a_refusal_is_an_error_with_its_reason(inspector: list[str], server: HttpServer) -> None:
    call = tool_call("send_message", from_session_id="me", to_session_id="../x", content="hello")
    refused = inspect([*over_http(inspector, server, "modern"), *call], TOOL_FAILED)
    assert refused["isError"] is True
    assert "(RECIPIENT_INVALID)" in refused["content"][0]["text"]
