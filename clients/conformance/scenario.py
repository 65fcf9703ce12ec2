"""Scenario — one thing that every client must do, and what it gets to try it with.

Owns the list of scenarios, in the order of the published table. A scenario never names a language; it may ask whether
the client is an SDK, which retries and resumes by itself, or a gRPC library, with which the scenario does so.
Invariant: a scenario asserts; an adapter never does.
"""

__all__ = ["BROKEN", "LIBRARY", "SCENARIOS", "SDK", "Run", "Scenario", "as_int", "message_of", "scenario"]

import itertools
import secrets
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from conformance.adapter import Adapter, Connection, Json
from conformance.daemons import Daemons, Guarded

LIBRARY, SDK = "library", "sdk"
# What a library may say of a connection that broke: rule 2 of docs/clients.md.
BROKEN = ("UNAVAILABLE", "INTERNAL", "CANCELLED", "UNKNOWN")
_connections = itertools.count(1)


@dataclass
class Run:
    """What a scenario has: one client, the daemons, names that nobody else uses.

    Attributes:
        adapter: the client under test.
        daemons: all daemons.
        start: starts another process of the client, with further variables in its environment.
        is_sdk: whether the client retries and resumes by itself.
    """

    adapter: Adapter
    daemons: Daemons
    start: Callable[[Mapping[str, str]], Adapter]
    is_sdk: bool
    mark: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def main(self) -> Guarded:
        """The daemon with the default settings."""
        return self.daemons["main"]

    def name(self, name: str) -> str:
        """Returns a name of this scenario's own."""
        return f"{name}-{self.mark}"

    def open(self, target: str, **options: str | int | None) -> Connection:
        """Opens a connection of the client to a gRPC target."""
        given = {key: value for key, value in options.items() if value is not None}
        return Connection(self.adapter, f"c{next(_connections)}", {"target": target, **given})

    def owner(self, daemon: str = "main") -> Connection:
        """Opens a connection to a daemon's socket."""
        return self.open(self.daemons[daemon].socket)

    def agent(self, name: str, daemon: str = "main", host: str = "127.0.0.1", **options: str | int) -> Connection:
        """Opens a connection over TCP, with a token of this agent."""
        guarded = self.daemons[daemon]
        return self.open(f"{host}:{guarded.port}", token=guarded.token(name), **options)

    @contextmanager
    def silent_server(self) -> Generator[str]:
        """Gives the target of a server that accepts connections and never answers."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield f"127.0.0.1:{server.getsockname()[1]}"

    @contextmanager
    def process(self, environment: Mapping[str, str]) -> Generator["Run"]:
        """Gives the same with another process of the client, in this environment."""
        adapter = self.start(environment)
        try:
            yield Run(adapter, self.daemons, self.start, self.is_sdk, self.mark)
        finally:
            adapter.close()


@dataclass(frozen=True)
class Scenario:
    """One row of the table.

    Attributes:
        title: what the client does.
        run: tries it; an AssertionError says what is wrong.
        kinds: which clients it is for.
        is_long: left out of short runs.
        beside: runs beside the others, because it waits most of the time.
    """

    title: str
    run: Callable[[Run], None]
    kinds: tuple[str, ...] = (LIBRARY, SDK)
    is_long: bool = False
    beside: bool = False


SCENARIOS: list[Scenario] = []


def scenario(
    title: str, *kinds: str, is_long: bool = False, beside: bool = False
) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Adds a function to the scenarios; without kinds it is for all clients."""

    def add(run: Callable[[Run], None]) -> Callable[[Run], None]:
        SCENARIOS.append(Scenario(title, run, kinds or (LIBRARY, SDK), is_long, beside))
        return run

    return add


def as_int(value: str | int | None) -> int:
    """Returns an int64 of proto3 JSON, which is text there and may be absent."""
    return int(value or 0)


def message_of(event: Json) -> Json:
    """Returns the message of an event."""
    assert "message" in event, f"not a message: {str(event)[:200]}"
    return event["message"]
