"""The front of `mailroom mcp`: it answers what clients ask first, while the server is still being loaded."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mailroom import AsyncMailroom
from mailroom_apps.mcp.front import ANSWERS, NAME_MARK, REPEATED_ID
from mailroom_apps.mcp.server import McpConfig, McpServer
from mailroom_apps.mcp.subscriptions import Subscriptions
from mcp.client import Client
from pydantic import BaseModel
from support.harness.waiting import BOUND_SEC

VERSION = "2025-06-18"
# The server is loaded when a file exists; then this prints what the server would have to read.
PROGRAM = """
import os, sys, time
from mailroom_apps.mcp.front import meet, take_pending
def load():
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
meet(sys.argv[2] or None, load)
sys.stdout.write(take_pending().decode())
"""


class FrontClient:
    """A client of the front in a process of its own."""

    def __init__(self, loaded: Path, agent: str = "bob") -> None:
        self._loaded = loaded
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(loaded), agent],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, **message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()

    def ask(self, **message: object) -> dict[str, Any]:
        assert self._process.stdout is not None
        self.send(**message)
        return json.loads(self._process.stdout.readline())

    def load(self) -> list[dict[str, Any]]:
        """Lets the server be loaded; returns what it has to read."""
        self._loaded.touch()
        out, _ = self._process.communicate(timeout=BOUND_SEC)
        return [json.loads(line) for line in out.splitlines()]


def plain(result: BaseModel) -> dict[str, Any]:
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def hello(name: str = "probe", version: str = VERSION) -> dict[str, object]:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}
    return {"id": 1, "method": "initialize", "params": params}


def test_the_first_requests_are_answered_before_the_server_is_loaded(tmp_path: Path) -> None:
    client = FrontClient(tmp_path / "loaded")
    met = client.ask(**hello())
    assert (met["id"], met["result"]["protocolVersion"]) == (1, VERSION)
    assert "You are bob." in met["result"]["instructions"]
    client.send(method="notifications/initialized")
    tools = client.ask(id="t", method="tools/list")["result"]["tools"]
    assert len(tools) == 8
    assert "session_id" not in tools[0]["inputSchema"]["properties"]
    (inbox,) = client.ask(id="r", method="resources/list")["result"]["resources"]
    assert inbox["uri"] == "mailroom://inbox/bob"
    assert client.ask(id=3, method="ping") == {"jsonrpc": "2.0", "id": 3, "result": {}}
    client.send(id=4, method="tools/call", params={"name": "check_inbox", "arguments": {}})
    left = client.load()
    assert [message["method"] for message in left] == ["initialize", "notifications/initialized", "tools/call"]
    assert left[0]["id"] == REPEATED_ID


@pytest.mark.parametrize(
    "message",
    [
        hello(version="1999-01-01"),
        hello(version="2026-07-28"),
        {"id": 1, "method": "server/discover"},
        {"id": 1, "method": "tools/list"},
        {"id": None, "method": "initialize", "params": {}},
        {"id": 1, "method": "initialize", "params": []},
        {"id": 1.5, "method": "ping"},
    ],
)
def test_what_is_not_an_ordinary_handshake_is_left_to_the_server(tmp_path: Path, message: dict[str, object]) -> None:
    client = FrontClient(tmp_path / "loaded")
    client.send(**message)
    assert client.load() == [{"jsonrpc": "2.0", **message}]


def test_codex_names_its_sessions_itself(tmp_path: Path) -> None:
    for name, is_asked in (("codex-mcp-client", False), ("probe", True)):
        client = FrontClient(tmp_path / f"loaded-{name}", agent="")
        assert "You are" not in client.ask(**hello(name))["result"]["instructions"]
        tools = client.ask(id=2, method="tools/list")["result"]["tools"]
        assert ("session_id" in tools[0]["inputSchema"]["properties"]) is is_asked
        client.load()


@pytest.mark.parametrize("agent", ["NAME", None])
def test_the_kept_answers_are_what_the_server_says(tmp_path: Path, agent: str | None) -> None:
    """`make docs` writes them again."""
    kept = json.loads(Path(ANSWERS).read_bytes())

    async def ask() -> tuple[dict[str, Any], dict[str, Any]]:
        async with AsyncMailroom(f"unix:{tmp_path}/none", grace=0.0) as room, Subscriptions(room, agent) as streams:
            server = McpServer(McpConfig(root=tmp_path, agent=agent), room, streams)
            async with Client(server.sdk, mode="legacy") as connected:
                met = connected.session.initialize_result
                assert met is not None
                lists = {
                    "tools/list": await connected.session.list_tools(),
                    "resources/list": await connected.session.list_resources(),
                    "resources/templates/list": await connected.session.list_resource_templates(),
                }
        return plain(met), {method: plain(each) for method, each in lists.items()}

    met, lists = asyncio.run(ask())
    identity = f"You are {agent}. " if agent else ""
    instructions = kept["initialize"]["instructions"].replace(NAME_MARK, identity)
    assert met == {**kept["initialize"], "instructions": instructions, "protocolVersion": met["protocolVersion"]}
    assert met["protocolVersion"] in kept["versions"]
    assert lists == kept["named" if agent else "unnamed"]
