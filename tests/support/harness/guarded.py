"""Guarded — a daemon on TCP with tokens, for tests of access."""

__all__ = ["CLIENT_STREAMS", "NOW_MS", "Guarded", "guarded_deployment"]

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mailroomd.auth.token_file import TokenFile
from support.harness.client import Client
from support.harness.deployment import Deployment, new_deployment

NOW_MS = 1_700_000_000_000
CLIENT_STREAMS = 3  # of one client at a time


@dataclass
class Guarded:
    """A daemon on TCP, with tokens for bob, for carol (who has no access to bob's mail) and for an administrator."""

    deployment: Deployment
    tokens: TokenFile
    texts: dict[str, str] = field(default_factory=dict[str, str])
    bobs_mail: str = ""

    @property
    def tcp(self) -> str:
        return next(address for address in self.deployment.addresses if not address.startswith("unix:"))

    def client_of(self, role: str) -> Client:
        """Opens a channel in a role; the caller closes it."""
        if role == "owner":
            return Client(self.deployment.target)
        holder = {"admin": "", "own": "bob", "others": "carol", "nobody": None}[role]
        return Client(self.tcp, self.texts[holder] if holder is not None else "")

    def new_token(self, agent: str, ttl_ms: int = 0, made_ms: int = NOW_MS) -> str:
        return self.tokens.create(agent or None, made_ms, ttl_ms)[0]


@contextmanager
def guarded_deployment(*flags: str) -> Generator[Guarded]:
    """Runs a daemon with low limits unless the flags raise them, in which bob has one message from alice."""
    with new_deployment(
        "--listen", "127.0.0.1:0", "--client-streams", str(CLIENT_STREAMS), "--client-rate", "200", *flags
    ) as deployment:
        guarded = Guarded(deployment, TokenFile(deployment.state_dir))
        guarded.texts = {name: guarded.new_token(name) for name in ("", "bob", "carol")}
        deployment.start()
        guarded.bobs_mail = deployment.send("bob", "for bob alone", sender="alice").message.id
        yield guarded
