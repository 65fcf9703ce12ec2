"""FailingIo — a disk that fails: calls of the daemon that return EIO while a test says so.

Owns the compiled shim (`failing_io.c`, by gcc), and the file by which it is told. What a shim cannot
show, that the kernel drops pages after a failed fsync, the power cuts do.
"""

__all__ = ["FailingIo"]

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.harness.daemon import Daemon

_SOURCE = Path(__file__).with_suffix(".c")
COMPILE_SEC = 60.0


def _compile_shim(directory: Path) -> Path:
    library = directory / "failing_io.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True, timeout=COMPILE_SEC)
    return library


@dataclass(frozen=True)
class FailingIo:
    """The calls of one daemon."""

    control: Path

    @classmethod
    def of(cls, daemon: Daemon) -> "FailingIo":
        """Puts the shim into a daemon that is not started yet."""
        control = daemon.directory / "failing"
        daemon.environment |= {"LD_PRELOAD": str(_compile_shim(daemon.directory)), "FAILING_IO_OF_TEST": str(control)}
        return cls(control)

    @contextmanager
    def failing(self, call: str, part: str) -> Generator[None]:
        """Lets a call fail while the context lasts.

        Args:
            call: fsync, fdatasync, syncfs, write, or pwrite.
            part: of the path of the file that it is about.
        """
        beside = self.control.with_suffix(".new")
        beside.write_text(f"{call} {part}\n")
        beside.rename(self.control)
        try:
            yield
        finally:
            self.control.unlink()
