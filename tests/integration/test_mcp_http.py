"""`mailroom mcp --http` with a real daemon: every revision of the protocol, refused requests, and floods."""

import select
import socket
from collections.abc import Iterator, Mapping

import httpx2
import pytest
from support.harness.mcp_client import (
    VERSIONS,
    HttpServer,
    over_http,
    play,
    read_answer_acknowledge,
    running_http_server,
    session,
)
from support.harness.waiting import BOUND_SEC, wait_until

TOKEN_CHARS = 43  # 32 bytes in base64
MAX_LOG_BYTES = 10_000


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with running_http_server() as running:
        yield running


def post(server: HttpServer, headers: Mapping[str, str]) -> httpx2.Response:
    all_headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", **headers}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    return httpx2.post(server.url, json=body, headers=all_headers, timeout=BOUND_SEC)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_agent_reads_answers_and_acknowledges_in_each_revision(server: HttpServer, version: str) -> None:
    me = f"agent-{version}"

    async def scene() -> None:
        async with session(over_http(server.url, server.token), version) as agent:
            await read_answer_acknowledge(agent, server.daemon, me, session_id=me)

    play(scene)


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic abc", "bearer"])
def test_a_request_without_the_token_gets_401(server: HttpServer, authorization: str) -> None:
    response = post(server, {"Authorization": authorization} if authorization else {})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_requests_from_other_sites_are_refused_even_with_the_token(server: HttpServer) -> None:
    header = {"Authorization": f"Bearer {server.token}"}
    assert post(server, header | {"Host": "mail.example:80"}).status_code == 421
    assert post(server, header | {"Origin": "http://mail.example"}).status_code == 403


def test_only_the_owner_can_read_the_token_file(server: HttpServer) -> None:
    assert server.token_file.stat().st_mode & 0o777 == 0o600
    assert len(server.token) == TOKEN_CHARS
    assert [path.name for path in server.token_file.parent.iterdir()] == [server.token_file.name]


def test_idle_connections_beyond_the_descriptors_shut_nobody_out() -> None:
    with running_http_server(max_descriptors=256) as server:
        address = ("127.0.0.1", httpx2.URL(server.url).port or 0)
        idle = [socket.create_connection(address, timeout=BOUND_SEC) for _ in range(300)]
        for connection in idle[::2]:
            connection.send(b"POST /mcp HTTP/1.1\r\n")  # the rest never follows

        async def scene() -> None:
            async with session(over_http(server.url, server.token)) as agent:
                await read_answer_acknowledge(agent, server.daemon, "bob", session_id="bob")

        try:
            play(scene)
            assert server.log.stat().st_size < MAX_LOG_BYTES
            assert server.log.read_text().count("reached the limit") == 1
            wait_until(lambda: all(map(is_closed, idle)), "the server has closed all idle connections")
        finally:
            for connection in idle:
                connection.close()


def test_a_flood_of_refused_requests_writes_no_log(server: HttpServer) -> None:
    size_before = server.log.stat().st_size
    for _ in range(50):
        assert post(server, {}).status_code == 401
        with socket.create_connection(("127.0.0.1", httpx2.URL(server.url).port or 0)) as connection:
            connection.send(b"not HTTP\r\n\r\n")
            assert b"400" in connection.recv(1000)
    assert server.log.stat().st_size == size_before


def is_closed(connection: socket.socket) -> bool:
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable)
