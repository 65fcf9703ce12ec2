"""Terminal — an agent program in a terminal of its own: tmux with a socket of its own."""

__all__ = ["Terminal"]

import shlex
import subprocess
from types import TracebackType
from typing import Self

from support.agents.workplace import PROGRAMS, Workplace
from support.harness.waiting import BOUND_SEC, wait_until


class Terminal:
    """Runs a program in a terminal, for as long as the `with` lasts.

    Args:
        workplace: where.
        words: the program and its arguments.
    """

    def __init__(self, workplace: Workplace, *words: str) -> None:
        self._workplace = workplace
        self._socket = str(workplace.directory / "tmux")
        self._command = shlex.join([str(PROGRAMS / words[0]), *words[1:]])

    def __enter__(self) -> Self:
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "180", "-y", "50", self._command)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type:
            print(self.screen())
        self._tmux("kill-server", check=False)

    def screen(self) -> str:
        """Returns what the terminal shows, and what has scrolled away."""
        return self._tmux("capture-pane", "-p", "-S", "-500", check=False)

    def type(self, text: str) -> None:
        """Types text, without a return."""
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Presses keys by tmux's names: Enter, Escape, C-c."""
        self._tmux("send-keys", *keys)

    def submit(self, text: str) -> None:
        """Types a line and presses Enter when it is on the screen: once more than before."""
        end = text[-20:]
        before = self.screen().count(end)
        self.type(text)
        wait_until(lambda: self.screen().count(end) > before, f"the terminal shows {end!r}", step_sec=0.1)
        self.press("Enter")

    def wait_for(self, text: str, bound_sec: float = BOUND_SEC) -> None:
        """Waits until the terminal shows a text."""
        wait_until(
            lambda: text in self.screen(), f"the terminal shows {text!r}:\n{self.screen()}", bound_sec, step_sec=0.1
        )

    def wait_for_end(self) -> None:
        """Waits until the program has ended."""
        wait_until(lambda: not self._is_running(), "the program ends", step_sec=0.1)

    def _is_running(self) -> bool:
        done = subprocess.run(
            ["tmux", "-S", self._socket, "has-session"],
            env=self._workplace.environment(),
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments],
            cwd=self._workplace.project,
            env=self._workplace.environment(),
            capture_output=True,
            text=True,
            check=check,
        )
        return done.stdout
