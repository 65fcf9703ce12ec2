"""The supervisor with real processes that do toy work: start, death, standstill, end, and who is left over."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

BOUND_SEC = 20.0  # for anything that has to happen; on an idle machine all of it takes a tenth of a second
THREE = (("command-queue", "obedient"), ("mailbox", "obedient"), ("gateway", "listening"))
ADDRESSES = ["127.0.0.1:4711", "unix:/run/toy.sock"]


@dataclass(frozen=True)
class Daemon:
    process: subprocess.Popen[bytes]
    directory: Path
    state_dir: Path

    def journal(self) -> list[tuple[str, str, int, int]]:
        """What the workers noted: name, what, pid, epoch."""
        path = self.directory / "journal"
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(name, what, int(pid), int(epoch)) for name, what, pid, epoch in rows]

    def acts(self, name: str | None = None) -> list[str]:
        return [f"{who} {what}" for who, what, _, _ in self.journal() if name in (None, who)]

    def pid_of(self, name: str, epoch: int = 1) -> int:
        """The pid of that start of a worker; 0 if there was none yet."""
        return next((pid for who, _, pid, number in self.journal() if (who, number) == (name, epoch)), 0)

    def said(self) -> str:
        return (self.directory / "stdout").read_text()

    def complained(self) -> str:
        return (self.directory / "stderr").read_text()

    def log_lines(self, event: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.complained().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        return self.process.wait(BOUND_SEC)


StartDaemon = Callable[..., Daemon]


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOUND_SEC
    while not condition():
        assert time.monotonic() < deadline, f"waited {BOUND_SEC:g} s in vain until {what}"
        time.sleep(0.005)


def wait_ready(daemon: Daemon) -> None:
    wait_until(lambda: " is ready: " in daemon.said() or daemon.process.poll() is not None, "the daemon is ready")
    assert daemon.process.poll() is None, daemon.complained()


def family(daemon: Daemon) -> list[psutil.Process]:
    """The supervisor's workers, and the process that multiprocessing adds: its resource tracker."""
    return psutil.Process(daemon.process.pid).children(recursive=True)


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[StartDaemon]:
    started: list[Daemon] = []

    def start(*flags: str, children: tuple[tuple[str, str], ...] = THREE) -> Daemon:
        directory = tmp_path / f"daemon-{len(started)}"
        directory.mkdir()
        state_dir = tmp_path / "state"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
        environment |= {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TOY_CHILDREN": json.dumps(children),
            "TOY_JOURNAL": str(directory / "journal"),
            "HOME": str(tmp_path),
        }
        with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "support.fakes.toy_workers", "--state-dir", str(state_dir), *flags],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        started.append(Daemon(process, directory, state_dir))
        return started[-1]

    yield start
    for daemon in started:
        (daemon.directory / "leave").touch()
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait(BOUND_SEC)


def test_workers_start_in_order_each_when_the_one_before_is_ready_and_stop_in_reverse(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon()
    wait_ready(daemon)
    daemon.send(signal.SIGTERM)
    assert daemon.exit_code() == 0
    names = [name for name, _ in THREE]
    assert daemon.acts() == [
        *(f"{name} {what}" for name in names for what in ("starts", "ready")),
        *(f"{name} stops" for name in reversed(names)),
    ]


def test_the_addresses_are_announced_to_users_and_clients_and_withdrawn_at_the_end(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    wait_ready(daemon)
    assert json.loads((daemon.state_dir / "addresses").read_text()) == ADDRESSES
    assert daemon.said() == f"mailroomd 0.2.0 is ready: {' '.join(ADDRESSES)}\n"
    assert daemon.state_dir.stat().st_mode & 0o777 == 0o700
    daemon.send(signal.SIGTERM)
    assert daemon.exit_code() == 0
    assert not (daemon.state_dir / "addresses").exists()


def test_a_worker_that_is_killed_is_restarted_at_once_and_nobody_else_is(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    wait_ready(daemon)
    killed_at = time.monotonic()
    os.kill(daemon.pid_of("mailbox"), signal.SIGKILL)
    wait_until(lambda: daemon.pid_of("mailbox", epoch=2), "the mailbox is there again")
    assert time.monotonic() - killed_at < 5.0, "at once, and the start of a Python process on a busy machine"
    daemon.send(signal.SIGTERM)
    assert daemon.exit_code() == 0
    assert {name: epoch for name, _, _, epoch in daemon.journal()} == {"command-queue": 1, "mailbox": 2, "gateway": 1}
    (death,) = daemon.log_lines("worker died")
    assert (death["worker"], death["last_exit"]) == ("mailbox", "killed by SIGKILL")
    assert daemon.said().count("is ready") == 1


def test_a_worker_that_stands_still_is_replaced_after_the_predecessor_is_gone(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("--stuck-after", "500ms")
    wait_ready(daemon)
    stuck = psutil.Process(daemon.pid_of("mailbox"))
    stopped_at = time.monotonic()
    stuck.suspend()
    wait_until(lambda: daemon.pid_of("mailbox", epoch=2), "the mailbox is replaced")
    assert time.monotonic() - stopped_at > 0.35  # its last heartbeat is an eighth of a second older at most
    assert is_gone(stuck)
    wait_until(lambda: daemon.log_lines("worker died"), "the log says so")
    assert daemon.log_lines("worker died")[0]["last_exit"] == "stuck: no heartbeat for 0.5 s, killed"


def test_past_the_restarts_allowed_it_stops_everything_and_gives_up_with_69(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("--max-restarts", "3/30", children=(("command-queue", "obedient"), ("mailbox", "mortal")))
    assert daemon.exit_code() == 69
    assert daemon.acts("mailbox") == ["mailbox starts"] * 4
    assert daemon.acts("command-queue")[-1] == "command-queue stops"
    assert (
        "mailroomd: gave up: more than 3 restarts in 30 s, the last because mailbox was gone (exited with code 3)\n"
    ) in daemon.complained()


@pytest.mark.parametrize(
    ("function", "sentence", "code"),
    [
        ("refusing", "the toy database is newer than this daemon: upgrade it", 78),
        ("reporting", "the toy root is not writable", 73),
    ],
)
def test_a_worker_that_cannot_start_stops_the_daemon_with_its_sentence_and_code(
    start_daemon: StartDaemon, function: str, sentence: str, code: int
) -> None:
    daemon = start_daemon(children=(("command-queue", "obedient"), ("mailbox", function), ("gateway", "obedient")))
    assert daemon.exit_code() == code
    assert daemon.complained() == f"mailroomd: {sentence}\n"
    assert daemon.acts("mailbox") == ["mailbox starts"]
    assert daemon.acts("gateway") == []
    assert daemon.acts("command-queue")[-1] == "command-queue stops"


def test_an_exception_in_a_worker_is_one_line_in_the_log_with_its_traceback(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("--max-restarts", "0/1", children=(("mailbox", "faulty"),))
    assert daemon.exit_code() == 69
    (line,) = daemon.log_lines("worker failed")
    assert (line["process"], line["level"], line["epoch"]) == ("mailbox", "error", 1)
    assert line["error"] == "RuntimeError: a toy is broken"
    assert "toy_workers.py" in str(line["exception"])
    assert str(line["timestamp"]).endswith("Z")


def test_nobody_is_left_when_the_supervisor_is_killed_not_even_who_is_stopped(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    wait_ready(daemon)
    left_behind = family(daemon)
    assert len(left_behind) == 4, "three workers and multiprocessing's resource tracker"
    psutil.Process(daemon.pid_of("mailbox")).suspend()
    daemon.send(signal.SIGKILL)
    daemon.exit_code()
    wait_until(lambda: all(map(is_gone, left_behind)), "the last process is gone")


def test_a_second_daemon_on_the_same_state_directory_refuses_with_75(start_daemon: StartDaemon) -> None:
    first = start_daemon()
    wait_ready(first)
    second = start_daemon()
    assert second.exit_code() == 75
    assert f"mailroomd: waiting for mailroomd (pid {first.process.pid}) to leave" in second.complained()
    assert f"mailroomd: mailroomd (pid {first.process.pid}) already runs on {first.state_dir}" in second.complained()
    assert second.journal() == []
    assert first.process.poll() is None


def test_a_daemon_that_waits_for_another_takes_over_when_the_last_worker_is_gone(start_daemon: StartDaemon) -> None:
    first = start_daemon(children=(("command-queue", "lingering"),))
    wait_ready(first)
    worker = psutil.Process(first.pid_of("command-queue"))
    first.send(signal.SIGKILL)
    first.exit_code()
    second = start_daemon()
    wait_until(lambda: "waiting for" in second.complained(), "the second daemon says that it waits")
    assert not is_gone(worker)
    assert second.journal() == []
    (first.directory / "leave").touch()
    wait_ready(second)
    assert is_gone(worker)


def test_a_daemon_that_waits_for_another_can_be_stopped(start_daemon: StartDaemon) -> None:
    wait_ready(start_daemon())
    second = start_daemon()
    wait_until(lambda: "waiting for" in second.complained(), "the second daemon says that it waits")
    second.send(signal.SIGTERM)
    assert second.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_stops_cleanly_within_5_s_and_a_second_one_changes_nothing(
    start_daemon: StartDaemon, number: int
) -> None:
    daemon = start_daemon()
    wait_ready(daemon)
    everybody = family(daemon)
    asked_at = time.monotonic()
    for _ in range(3):
        os.killpg(daemon.process.pid, number)
    assert daemon.exit_code() == 0
    assert time.monotonic() - asked_at < 5.0
    assert [act for act in daemon.acts() if act.endswith("stops")] == [
        "gateway stops",
        "mailbox stops",
        "command-queue stops",
    ]
    assert "Traceback" not in daemon.complained()
    wait_until(lambda: all(map(is_gone, everybody)), "the last process is gone")


def test_a_signal_while_the_workers_start_stops_cleanly(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    wait_until(lambda: daemon.acts(), "the first worker starts")
    os.killpg(daemon.process.pid, signal.SIGINT)
    assert daemon.exit_code() == 0
    assert "Traceback" not in daemon.complained()


def test_a_hangup_reloads_what_can_be_while_nobody_is_restarted(start_daemon: StartDaemon, tmp_path: Path) -> None:
    file = tmp_path / "mailroomd.toml"
    file.write_text("max-unread = 10\n")
    daemon = start_daemon("--config", str(file), "--gateways", "1", children=(("gateway", "reloading"),))
    wait_ready(daemon)
    file.write_text('max-unread = 11\nlog-level = "debug"\nstuck-after = "20s"\ngateways = 7\n')
    os.killpg(daemon.process.pid, signal.SIGHUP)
    wait_until(lambda: "gateway max-unread-11-debug" in daemon.acts(), "the worker has the new settings")
    wait_until(lambda: daemon.log_lines("reloaded"), "the log says so")
    assert daemon.log_lines("reloaded")[0]["changed"] == ["max-unread", "log-level"]
    assert daemon.log_lines("changed settings wait for a restart")[0]["settings"] == ["stuck-after"]
    os.kill(daemon.pid_of("gateway"), signal.SIGKILL)
    wait_until(lambda: "gateway max-unread-11-debug" in daemon.acts()[2:], "its successor has them, too")
    daemon.send(signal.SIGTERM)
    assert daemon.exit_code() == 0


def test_a_reload_of_a_wrong_file_is_refused_with_its_sentence_and_everything_stays(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    file = tmp_path / "mailroomd.toml"
    file.write_text("max-unread = 10\n")
    daemon = start_daemon("--config", str(file))
    wait_ready(daemon)
    file.write_text("max-unreed = 11\n")
    daemon.send(signal.SIGHUP)
    wait_until(lambda: daemon.log_lines("not reloaded, the settings stay as they were"), "the log says so")
    (line,) = daemon.log_lines("not reloaded, the settings stay as they were")
    assert line["error"] == f"{file} has an unknown key 'max-unreed', did you mean 'max-unread'?"
    daemon.send(signal.SIGTERM)
    assert daemon.exit_code() == 0
    assert {epoch for _, _, _, epoch in daemon.journal()} == {1}


def test_who_does_not_hear_stop_is_killed_and_who_dies_of_it_is_not_restarted(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(children=(("command-queue", "obedient"), ("mailbox", "deaf"), ("gateway", "clumsy")))
    wait_ready(daemon)
    everybody = family(daemon)
    daemon.send(signal.SIGTERM)
    assert daemon.exit_code() == 0
    assert [line["worker"] for line in daemon.log_lines("did not stop in time")] == ["mailbox"]
    assert {epoch for _, _, _, epoch in daemon.journal()} == {1}
    assert daemon.acts()[-1] == "command-queue stops"
    wait_until(lambda: all(map(is_gone, everybody)), "the last process is gone")


def test_a_daemon_that_was_stopped_as_a_whole_and_continued_restarts_nobody(start_daemon: StartDaemon) -> None:
    stuck_after_sec = 1.0
    daemon = start_daemon("--stuck-after", "1s")
    wait_until(lambda: daemon.log_lines("ready"), "the daemon is ready and waits")
    os.killpg(daemon.process.pid, signal.SIGSTOP)
    wait_until(passed(2 * stuck_after_sec), "every heartbeat is old")
    daemon.send(signal.SIGCONT)  # the judge first: it sees old heartbeats only
    wait_until(passed(stuck_after_sec / 2), "the judge has judged twice")
    os.killpg(daemon.process.pid, signal.SIGCONT)
    wait_until(passed(2 * stuck_after_sec), "whoever is thought stuck is replaced")
    daemon.send(signal.SIGTERM)
    assert daemon.exit_code() == 0
    assert {epoch for _, _, _, epoch in daemon.journal()} == {1}


def passed(seconds: float) -> Callable[[], bool]:
    """That nothing happens shows only in time that passes."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def test_a_socket_on_which_somebody_answers_is_refused_with_75(start_daemon: StartDaemon, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen()
        daemon = start_daemon("--listen", f"unix:{path}")
        assert daemon.exit_code() == 75
    assert f"mailroomd: somebody already answers on {path}" in daemon.complained()
    assert daemon.journal() == []


def test_a_dead_socket_is_removed_and_its_directory_is_made_private(start_daemon: StartDaemon, tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    fresh = tmp_path / "run" / "fresh.sock"
    wait_ready(start_daemon("--listen", f"unix:{path}", "--listen", f"unix:{fresh}"))
    assert not path.exists()
    assert fresh.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "flags", [("--state-dir", "{file}/state"), ("--listen", "unix:{file}/a.sock"), ("--listen", "unix:{file}")]
)
def test_what_is_in_the_way_is_named_and_ends_with_73(
    start_daemon: StartDaemon, tmp_path: Path, flags: tuple[str, str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    daemon = start_daemon(flags[0], flags[1].format(file=file))
    assert daemon.exit_code() == 73
    assert daemon.complained().startswith("mailroomd: ")
    assert str(file) in daemon.complained()
    assert "Traceback" not in daemon.complained()


def test_the_supervisor_carries_neither_grpc_nor_a_database_nor_the_log_library() -> None:
    program = "import sys, mailroomd.supervisor.daemon as _; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)
    assert not {"grpc", "google.protobuf", "sqlite3", "structlog", "asyncio", "rich"} & set(done.stdout.split())
