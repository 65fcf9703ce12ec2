"""Programs start under odd conditions: closed descriptors, no home, a hostile or deleted directory, odd signals.

Either mail works, or the program ends with one sentence and its documented exit code. Starts programs by itself, not by
`Daemon`: the environment, the descriptors and the directory of a start are what these tests vary.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from pathlib import Path

import psutil
import pytest
from mailroom import Mailroom
from mailroomd.storage.database.connection import open_store
from support.harness.daemon import short_directory
from support.harness.waiting import BOUND_SEC, wait_until

BIN = Path(sys.executable).parent
SUBSETS = list(chain.from_iterable(combinations(range(3), size) for size in (1, 2, 3)))
HOSTILE = ("types", "signal", "socket", "select", "struct", "pickle", "enum", "grpc", "msgspec", "mailroomd")

# Closes descriptors, removes the home directory and the current directory as asked, then becomes the program.
LAUNCHER = """
import json, os, shutil, signal, sys
options = json.loads(sys.argv[1])
for number in options["ignored"]:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, options["blocked"])
if options["umask"] >= 0:
    os.umask(options["umask"])
if options["delete_cwd"]:
    shutil.rmtree(os.getcwd())
for descriptor in options["closed"]:
    os.close(descriptor)
os.execv(options["program"][0], options["program"])
"""
# A user without an entry in the user database, as a container with an arbitrary user id has.
WITHOUT_PASSWD = """
import pwd, sys
def getpwuid(uid):
    raise KeyError(uid)
pwd.getpwuid = getpwuid
sys.argv = sys.argv[1:]
if sys.argv[0] == "mailroomd":
    from mailroomd.__main__ import main
else:
    from mailroom_apps.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


class Launch:
    """One way to start programs, in a directory of their own."""

    def __init__(
        self,
        directory: Path,
        *,
        closed: Sequence[int] = (),
        delete_cwd: bool = False,
        has_home: bool = True,
        ignored: Sequence[int] = (),
        blocked: Sequence[int] = (),
        umask: int = -1,
    ) -> None:
        self.directory = directory
        self.cwd = directory / "cwd"
        self.cwd.mkdir()
        self.address = f"unix:{directory}/s/m.sock"
        self._options = {"closed": list(closed), "delete_cwd": delete_cwd}
        self._options |= {"ignored": list(ignored), "blocked": list(blocked), "umask": umask}
        self._has_home = has_home

    def popen(self, name: str, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        program = [str(BIN / name)] if self._has_home else [sys.executable, "-P", "-c", WITHOUT_PASSWD, name]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAILROOM_", "XDG_", "HOME"))}
        home = {"HOME": str(self.directory)} if self._has_home else {}
        options = json.dumps(self._options | {"program": [*program, *arguments]})
        return subprocess.Popen(
            [sys.executable, "-P", "-c", LAUNCHER, options],
            cwd=self.cwd,
            env=kept | home | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, name: str, *arguments: str, stdin: bytes = b"", **environment: str) -> tuple[int, str, str]:
        """Returns exit code, standard output and standard error of a program that ends by itself."""
        process = self.popen(name, *arguments, **environment)
        out, err = process.communicate(stdin, timeout=BOUND_SEC)
        return process.returncode, out.decode(), err.decode()

    def start_daemon(self) -> "subprocess.Popen[bytes]":
        flags = [f"--root={self.directory}/root", f"--state-dir={self.directory}/state", f"--listen={self.address}"]
        process = self.popen("mailroomd", *flags)
        addresses = self.directory / "state" / "addresses"
        wait_until(lambda: addresses.exists() or process.poll() is not None, "the daemon listens")
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1].decode())
        return process


def assert_mail_works(launch: Launch, process: "subprocess.Popen[bytes]") -> None:
    """Sends, restarts the worker that stores, reads, and stops the daemon."""
    try:
        with Mailroom(launch.address, sender="amy") as amy:
            sent = amy.send("bob", "hello")
            workers = {worker.name: worker.pid for worker in amy.status().workers}
            os.kill(workers["mailbox"], signal.SIGKILL)
            again = amy.send("bob", "again")
            assert [message.id for message in amy.check_inbox("bob").messages] == [sent.message.id, again.message.id]
    finally:
        process.terminate()
        _, err = process.communicate(timeout=BOUND_SEC)
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err


def open_files(process: psutil.Process) -> list[str]:
    return [str(Path(f"/proc/{process.pid}/fd/{descriptor}").readlink()) for descriptor in range(3)]


@pytest.mark.parametrize("closed", SUBSETS, ids=str)
def test_a_daemon_with_closed_descriptors_carries_mail(directory: Path, closed: tuple[int, ...]) -> None:
    launch = Launch(directory, closed=closed)
    process = launch.start_daemon()
    for member in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
        files = open_files(member)
        assert [files[descriptor] for descriptor in closed] == ["/dev/null"] * len(closed), member.name()
    assert_mail_works(launch, process)


@pytest.mark.parametrize(
    ("ignored", "blocked"),
    [
        ([signal.SIGCHLD], []),
        ([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], []),
        ([], [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]),
    ],
    ids=["children", "ends", "all blocked"],
)
def test_a_daemon_with_ignored_or_blocked_signals_replaces_a_worker_and_stops(
    directory: Path, ignored: list[int], blocked: list[int]
) -> None:
    launch = Launch(directory, ignored=ignored, blocked=blocked)
    assert_mail_works(launch, launch.start_daemon())


@pytest.mark.parametrize("umask", [0o000, 0o777], ids=oct)
def test_a_daemon_with_an_odd_umask_carries_mail_in_private_files(directory: Path, umask: int) -> None:
    launch = Launch(directory, umask=umask)
    assert_mail_works(launch, launch.start_daemon())
    found = [path for path in directory.rglob("*") if path.name != "cwd" and not path.is_symlink()]
    assert len(found) > 5
    assert [path for path in found if path.stat().st_mode & 0o077] == []


def test_a_daemon_in_a_hostile_directory_runs_none_of_its_files(directory: Path) -> None:
    launch = Launch(directory)
    for name in HOSTILE:
        (launch.cwd / f"{name}.py").write_text('raise SystemExit("foreign code")\n')
    assert_mail_works(launch, launch.start_daemon())


@pytest.mark.parametrize(
    "program",
    [(str(BIN / "mailroom"),), (sys.executable, "-P", "-m", "mailroom_apps")],
    ids=["command", "python -P -m"],
)
@pytest.mark.parametrize("arguments", [("--version",), ("hook", "--agent", "bob")])
def test_a_command_in_a_hostile_directory_runs_none_of_its_files(
    directory: Path, program: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    for name in (*HOSTILE, "types", "runpy", "mailroom", "mailroom_apps"):
        (directory / f"{name}.py").write_text('raise SystemExit("foreign code")\n')
    event = '{"hook_event_name": "Stop", "session_id": "s"}'
    done = subprocess.run(
        [*program, *arguments],
        cwd=directory,
        input=event,
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_daemon_in_a_deleted_directory_carries_mail(directory: Path) -> None:
    launch = Launch(directory, delete_cwd=True)
    assert_mail_works(launch, launch.start_daemon())


def test_a_daemon_whose_directory_is_deleted_later_restarts_its_workers(directory: Path) -> None:
    launch = Launch(directory)
    process = launch.start_daemon()
    launch.cwd.rmdir()
    assert_mail_works(launch, process)


def test_a_daemon_without_a_home_carries_mail_if_it_is_given_its_paths(directory: Path) -> None:
    launch = Launch(directory, has_home=False)
    assert_mail_works(launch, launch.start_daemon())


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 64, "Give --root."),
        (("--root", "{directory}"), 64, "Give --state-dir."),
        (("--root", "~/x"), 64, "--root begins with '~', but there is no such home directory"),
    ],
)
def test_a_daemon_without_a_home_asks_for_its_paths(
    directory: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    given = [argument.format(directory=directory) for argument in arguments]
    exit_code, _, err = Launch(directory, has_home=False).run("mailroomd", *given)
    assert exit_code == code
    assert sentence in err
    assert err.count("\n") == 1


def test_a_relative_path_in_a_deleted_directory_is_refused(directory: Path) -> None:
    exit_code, _, err = Launch(directory, delete_cwd=True).run("mailroomd", "--root", "r")
    assert exit_code == 64
    assert err == "mailroomd: --root must be an absolute path, not 'r': the current directory was deleted\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats",),
        ("doctor",),
        ("inbox", "bob"),
        ("token", "list"),
        ("token", "create", "--agent", "bob"),
        ("backup", "b.db"),
        ("setup", "claude-code", "--user", "--agent", "bob", "--dry-run"),
        ("setup", "codex", "--user", "--agent", "bob", "--dry-run"),
        ("mcp", "--agent", "bob"),
        ("hook", "--agent", "bob"),
        ("doorbell", "--agent", "bob"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("closed", [(), (0, 1)], ids=str)
def test_a_client_without_a_home_ends_with_one_sentence(
    directory: Path, arguments: tuple[str, ...], closed: tuple[int, ...]
) -> None:
    launch = Launch(directory, closed=closed, has_home=False)
    event = b'{"session_id":"s1","hook_event_name":"UserPromptSubmit"}'
    exit_code, out, err = launch.run("mailroom", *arguments, stdin=event)
    assert exit_code == 1
    assert out == ""
    assert err.count("\n") == 1, err
    assert "home directory" in err
    assert list(launch.cwd.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats",),
        ("send", "bob", "hi", "--from", "amy"),
        ("inbox", "bob"),
        ("token", "list"),
        ("export",),
        ("--version",),
        ("hook", "--agent", "bob"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_a_client_in_a_deleted_directory_works(directory: Path, arguments: tuple[str, ...]) -> None:
    process = Launch(directory).start_daemon()
    (directory / "client").mkdir()
    try:
        launch = Launch(directory / "client", delete_cwd=True)
        event = b'{"session_id":"s1","hook_event_name":"UserPromptSubmit"}'
        places = {"MAILROOM_STATE_DIR": f"{directory}/state", "MAILROOM_ROOT": f"{directory}/root"}
        address = f"unix:{directory}/s/m.sock"
        code, out, err = launch.run("mailroom", *arguments, stdin=event, MAILROOM_ADDRESS=address, **places)
        assert (code, "Traceback" in out + err) == (0, False), err
    finally:
        process.terminate()
        process.communicate(timeout=BOUND_SEC)


@pytest.mark.parametrize(
    "arguments",
    [("setup", "claude-code", "--agent", "bob", "--yes"), ("setup", "codex", "--agent", "bob"), ("backup", "b.db")],
    ids=" ".join,
)
def test_a_client_that_needs_a_deleted_directory_says_so(directory: Path, arguments: tuple[str, ...]) -> None:
    (directory / "state").mkdir(mode=0o700)
    open_store(directory / "state").close()
    launch = Launch(directory, delete_cwd=True)
    code, out, err = launch.run("mailroom", *arguments, MAILROOM_STATE_DIR=f"{directory}/state")
    assert (code, out) == (1, "")
    assert err == "mailroom: the current directory was deleted: change to another directory\n"


@pytest.mark.parametrize("closed", SUBSETS, ids=str)
def test_a_client_with_closed_descriptors_sends_or_says_why_not(directory: Path, closed: tuple[int, ...]) -> None:
    daemon_launch = Launch(directory)
    process = daemon_launch.start_daemon()
    try:
        launch = Launch(directory / "root", closed=closed)
        exit_code, out, err = launch.run("mailroom", "send", "bob", "hi", MAILROOM_ADDRESS=daemon_launch.address)
        assert (exit_code, "Traceback" in err) == (0, False)
        assert bool(out) == (1 not in closed)
    finally:
        process.terminate()
        process.communicate(timeout=BOUND_SEC)
