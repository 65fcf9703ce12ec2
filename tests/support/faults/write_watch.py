"""WriteWatch — what a program changes in the file system, by strace: every path that it opened for writing or changed.

Owns the command that a program is started behind, and reading what strace wrote. It follows every child. A path is
where the kernel ended up: links on the way to it are resolved, in what was opened by the kernel itself.
Not here: what is allowed (the tests). Source of the format: strace(1), options -f and -y.
"""

__all__ = ["WriteWatch", "watch_command"]

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from support.harness.waiting import wait_until

_CALLS = (
    "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,rmdir,unlink,unlinkat,rename,renameat,renameat2"
    ",link,linkat,symlink,symlinkat,truncate,ftruncate,chmod,fchmod,fchmodat,chown,lchown,fchown,fchownat"
    ",utimensat,setxattr,lsetxattr,fsetxattr"
)
_LINE = re.compile(r"(\d+) +(?:(\w+)\((.*)|<\.\.\. (\w+) resumed>(.*))$")
_UNFINISHED = " <unfinished ...>"
_RESULT = re.compile(r"\) += (-?\d+)(?:<(.*)>)?")
_HANDLE = re.compile(r"(?:AT_FDCWD|\d+)<((?:[^<>]|<[^<>]*>)*)>")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_WRITING = re.compile(r"O_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND)")
_CREATING_LINK = ("symlink", "symlinkat")  # whose first path is only text


def watch_command(trace: Path) -> tuple[str, ...]:
    """Returns what to put in front of a program's command: it writes the trace, and is the program's own process."""
    # -D: strace is the one that is detached, so signals, the process id and the exit code are the program's.
    strace = ("strace", "-D", "-f", "-qq", "-y", "--seccomp-bpf", "-s", "4096", "-e", f"trace={_CALLS}")
    return ("env", "PYTHONDONTWRITEBYTECODE=1", *strace, "-o", str(trace))


@dataclass(frozen=True)
class WriteWatch:
    """A trace."""

    trace: Path

    def changed(self) -> set[str]:
        """Returns the paths that were changed, or opened so that they could be; what failed changed nothing.

        The program has to have ended; its trace may still be on the way.
        """
        wait_until(lambda: not self._is_traced(), "the trace is written")
        return {path for call in self._whole_lines() for path in _changed_by(*call)}

    def _is_traced(self) -> bool:
        return any(str(self.trace) in (one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))

    def _whole_lines(self) -> Iterator[tuple[str, str]]:
        """Yields (name, the rest) of each call; what was interrupted by another process's call is put together."""
        begun: dict[str, tuple[str, str]] = {}
        for line in self.trace.read_text(errors="surrogateescape").splitlines():
            found = _LINE.match(line)
            if found is None:
                continue
            pid, name, rest, resumed, end = found.groups()
            if resumed:
                name, rest = begun.pop(pid, (resumed, ""))
                yield name, rest + end
            elif rest.endswith(_UNFINISHED):
                begun[pid] = name, rest.removesuffix(_UNFINISHED)
            else:
                yield name, rest


def _changed_by(name: str, rest: str) -> Iterator[str]:
    result = _RESULT.search(rest)
    if result is None or int(result[1]) < 0:
        return
    arguments = rest[: result.start()]
    if name.startswith("open") or name == "creat":
        if name == "creat" or _WRITING.search(_TEXT.sub("", arguments)):
            yield result[2] or arguments
        return
    texts: list[str] = _TEXT.findall(arguments)
    handles: list[str] = _HANDLE.findall(_TEXT.sub('""', arguments))
    if not texts:
        yield from handles
    for index, text in enumerate(texts):
        if name in _CREATING_LINK and index == 0:
            continue
        where = Path(handles[min(index, len(handles) - 1)]) if handles else Path("/")
        path = where / text
        yield os.path.realpath(path.parent) + "/" + path.name
