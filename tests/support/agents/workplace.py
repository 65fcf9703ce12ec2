"""Workplace — a scratch home in which a real agent program runs: clean environment, stub models, a daemon of its own.

Nothing of the machine's own settings is read: the environment has only what is listed here, HOME is a new directory.
`scripts/test-agents` runs all of this in a network namespace without a route out.
"""

__all__ = ["PROGRAMS", "RUN_BOUND_SEC", "NewPlace", "Workplace"]

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mailroom import DeliveryState, Mailroom, SentMessage
from support.agents.model_server import ModelServer
from support.harness.daemon import Daemon

PROGRAMS = Path(os.environ.get("MAILROOM_AGENTS_BIN", "/nonexistent"))
RUN_BOUND_SEC = 90.0  # on a busy machine: these programs start slowly, and Mailroom is not what they wait for


@dataclass
class Workplace:
    """Where one agent program runs.

    Attributes:
        directory: empty and new.
        program: which one, as `mailroom setup` knows it.
        models: the stub of its vendor's service.
        daemon: the daemon that its mail goes through.
        agent: its name in Mailroom.
        extra: what its environment has besides.
        is_named: whether the name is set up; otherwise it is that of the first session.
    """

    directory: Path
    program: str
    models: ModelServer
    daemon: Daemon
    agent: str
    extra: dict[str, str] = field(default_factory=dict[str, str])
    is_named: bool = True

    def __post_init__(self) -> None:
        self.project.mkdir(parents=True)
        (self.home / "tmp").mkdir(parents=True)
        subprocess.run(["git", "init", "-q"], cwd=self.project, env=self.environment(), check=True)

    @property
    def home(self) -> Path:
        """Its HOME."""
        return self.directory / "home"

    @property
    def project(self) -> Path:
        """Where it works."""
        return self.directory / "project"

    def environment(self) -> dict[str, str]:
        """Returns everything that the program finds in its environment."""
        return {
            "HOME": str(self.home),
            "PATH": f"{PROGRAMS}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "TMPDIR": str(self.home / "tmp"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "MAILROOM_ADDRESS": self.daemon.address,
            "MAILROOM_ROOT": str(self.daemon.root),
            **self.extra,
        }

    def mailroom(self, *arguments: str) -> str:
        """Runs the command line as its user would; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "mailroom_apps", *arguments],
            cwd=self.project,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=RUN_BOUND_SEC,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def set_up(self, *arguments: str, is_named: bool = True) -> None:
        """Runs `mailroom setup`, with the agent's name or without."""
        self.is_named = is_named
        name = ("--agent", self.agent) if is_named else ()
        self.mailroom("setup", self.program, *name, "--yes", *arguments)

    def run(self, *words: str, bound_sec: float = RUN_BOUND_SEC) -> str:
        """Runs a program to its end, without a terminal; returns its output."""
        try:
            done = subprocess.run(
                [str(PROGRAMS / words[0]), *words[1:]],
                cwd=self.project,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=bound_sec,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            last = self.models.requests[-1].outline if self.models.requests else "nothing was asked of the model"
            raise AssertionError(
                f"{shlex.join(words)} did not end: {error.output!r}\n{self.models.errors}\n{last}"
            ) from None
        assert done.returncode == 0, f"{shlex.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout

    def send(self, content: str, *, to: str | None = None, sender: str = "amy", **options: str) -> SentMessage:
        """Sends the agent a message, or another one."""
        with Mailroom(self.daemon.address, sender=sender) as client:
            return client.send(to or self.agent, content, **options)  # pyright: ignore[reportArgumentType]

    def is_present(self) -> bool:
        """Returns whether the agent has an open stream; where it has no name, whether anybody has."""
        with Mailroom(self.daemon.address, sender="amy") as client:
            return any(each.subscribers and (each.name == self.agent or not self.is_named) for each in client.agents())

    def sender_of_mail(self, recipient: str) -> str:
        """Waits for a message that somebody has for a recipient, takes it, and returns who sent it."""
        with Mailroom(self.daemon.address, sender=recipient) as client:
            [message] = client.check_inbox(recipient, wait=RUN_BOUND_SEC)
            client.acknowledge(recipient, message.id)
            return message.sender

    def state_of(self, sent: SentMessage) -> DeliveryState:
        """Returns what the sender of a message sees of it."""
        with Mailroom(self.daemon.address, sender="amy") as client:
            return client.get_message(sent.id).delivery.state


class NewPlace(Protocol):
    """Makes a home for a program, by its name."""

    def __call__(self, name: str, *setup: str, is_named: bool = True) -> Workplace: ...
