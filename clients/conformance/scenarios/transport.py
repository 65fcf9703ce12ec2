"""Transport — addresses, proxies, keepalive, discovery."""

import json
import socket
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from conformance.adapter import Connection
from conformance.scenario import SDK, Run, message_of, scenario

IDLE_SEC = 45.0  # gRPC's own limits ended such streams after 30 to 40 s


@scenario("unix:///path, 127.0.0.1:PORT and localhost:PORT are addresses")
def addresses(run: Run) -> None:
    """As docs/clients.md writes them."""
    bob, guarded = run.name("bob"), run.main
    assert run.open(guarded.socket).send(bob)["message"]["id"]
    for host in ("127.0.0.1", "localhost"):
        assert run.agent(bob, host=host).send(bob, sender=bob)["message"]["id"]


@scenario("no call to a socket or to loopback goes through a proxy")
def proxy(run: Run) -> None:
    """Another process of the client, with the usual variables; the proxy counts connections."""
    with _proxy() as (port, connections):
        url = f"http://127.0.0.1:{port}"
        names = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        with run.process(dict.fromkeys(names, url)) as proxied:
            bob = run.name("bob")
            assert proxied.owner().send(bob)["message"]["id"]
            for host in ("127.0.0.1", "localhost"):
                assert proxied.agent(bob, host=host).send(bob, sender=bob)["message"]["id"]
        assert not connections, f"{len(connections)} connections to the proxy"


@contextmanager
def _proxy() -> Generator[tuple[int, list[object]]]:
    connections: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = threading.Event()

        def accept() -> None:
            while not closed.is_set():
                try:
                    client, address = server.accept()
                except TimeoutError:
                    continue
                connections.append(address)
                client.close()

        server.settimeout(0.1)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], connections
        finally:
            closed.set()
            thread.join()


@scenario(f"a stream that is idle for {IDLE_SEC:g} s, with keepalive every 10 s, stays open", beside=True)
def keepalive(run: Run) -> None:
    """Over TCP and over the socket; afterwards a message arrives on the same stream. An SDK has its own keepalive."""
    bob, carol = run.name("bob"), run.name("carol")
    owner = run.owner()
    streams = [
        run.agent(bob, keepalive_ms=10_000).live(bob),
        run.open(run.main.socket, keepalive_ms=10_000).live(carol),
    ]
    time.sleep(IDLE_SEC)
    for agent, stream in zip((bob, carol), streams, strict=True):
        owner.send(agent, "still there?")
        assert message_of(stream.expect())["content"] == "still there?"
        stream.cancel()


@scenario("the client finds the daemon by itself, in the published order", SDK)
def discovery(run: Run) -> None:
    """The variables one after another; a stale socket does not hide a running daemon."""
    address = run.main.daemon.address
    base = run.daemons.directory / f"discovery-{run.mark}"
    stale = base / "runtime" / "mailroom" / "mailroom.sock"
    stale.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    xdg_state, state = base / "xdg", base / "state"
    for directory in (xdg_state / "mailroom", state, base / "home" / ".local" / "state" / "mailroom"):
        directory.mkdir(parents=True)
        (directory / "addresses").write_text(json.dumps([f"127.0.0.1:{run.main.port}", address]))
    link = base / "linked" / "mailroom" / "mailroom.sock"
    link.parent.mkdir(parents=True)
    link.symlink_to(address.removeprefix("unix:"))
    for environment in (
        {"MAILROOM_ADDRESS": address},
        {"MAILROOM_STATE_DIR": state},
        {"XDG_RUNTIME_DIR": base / "linked"},
        {"XDG_RUNTIME_DIR": base / "runtime", "XDG_STATE_HOME": xdg_state},
        {"HOME": base / "home"},
    ):
        _finds(run, environment)


def _finds(run: Run, environment: Mapping[str, str | Path]) -> None:
    with run.process({name: str(value) for name, value in environment.items()}) as other:
        assert Connection(other.adapter, "found", {}).send(run.name("bob"))["message"]["id"], environment
