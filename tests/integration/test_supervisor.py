"""The supervisor with real processes that do toy work: start, exits, stuck workers, shutdown, leftover processes."""

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
from support.harness.daemon import is_gone
from support.harness.waiting import BOUND_SEC, pause, wait_until

THREE = (("command-queue", "obedient"), ("mailbox", "obedient"), ("gateway", "listening"))
ADDRESSES = ["127.0.0.1:4711", "unix:/run/toy.sock"]


@dataclass(frozen=True)
class ToySupervisor:
    """The supervisor's process, with toy workers, and what they leave in its directories."""

    process: subprocess.Popen[bytes]
    directory: Path
    state_dir: Path

    def journal(self) -> list[tuple[str, str, int, int]]:
        """What the workers recorded: name, action, pid, epoch."""
        path = self.directory / "journal"
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(name, action, int(pid), int(epoch)) for name, action, pid, epoch in rows]

    def actions(self, name: str | None = None) -> list[str]:
        return [f"{worker} {action}" for worker, action, _, _ in self.journal() if name in (None, worker)]

    def pid_of(self, name: str, epoch: int = 1) -> int:
        """The pid of a worker at the given start; 0 if it has not started yet."""
        return next((pid for worker, _, pid, start in self.journal() if (worker, start) == (name, epoch)), 0)

    def stdout(self) -> str:
        return (self.directory / "stdout").read_text()

    def stderr(self) -> str:
        return (self.directory / "stderr").read_text()

    def log_lines(self, event: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.stderr().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def exit_code(self) -> int:
        return self.process.wait(BOUND_SEC)


Start = Callable[..., ToySupervisor]


def wait_ready(supervisor: ToySupervisor) -> None:
    wait_until(
        lambda: " is ready: " in supervisor.stdout() or supervisor.process.poll() is not None, "the daemon is ready"
    )
    assert supervisor.process.poll() is None, supervisor.stderr()


def descendants(supervisor: ToySupervisor) -> list[psutil.Process]:
    """The supervisor's workers, and multiprocessing's resource tracker."""
    return psutil.Process(supervisor.process.pid).children(recursive=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[ToySupervisor] = []

    def start_one(*flags: str, children: tuple[tuple[str, str], ...] = THREE) -> ToySupervisor:
        directory = tmp_path / f"supervisor-{len(started)}"
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
        started.append(ToySupervisor(process, directory, state_dir))
        return started[-1]

    yield start_one
    for supervisor in started:
        (supervisor.directory / "leave").touch()
        if supervisor.process.poll() is None:
            supervisor.process.kill()
            supervisor.process.wait(BOUND_SEC)


def test_workers_start_in_order_and_stop_in_reverse(start: Start) -> None:
    supervisor = start()
    wait_ready(supervisor)
    supervisor.send(signal.SIGTERM)
    assert supervisor.exit_code() == 0
    names = [name for name, _ in THREE]
    assert supervisor.actions() == [
        *(f"{name} {action}" for name in names for action in ("starts", "ready")),
        *(f"{name} stops" for name in reversed(names)),
    ]


def test_addresses_are_published_and_withdrawn_at_the_end(start: Start) -> None:
    supervisor = start()
    wait_ready(supervisor)
    assert json.loads((supervisor.state_dir / "addresses").read_text()) == ADDRESSES
    assert supervisor.stdout() == f"mailroomd 0.2.0 is ready: {' '.join(ADDRESSES)}\n"
    assert supervisor.state_dir.stat().st_mode & 0o777 == 0o700
    supervisor.send(signal.SIGTERM)
    assert supervisor.exit_code() == 0
    assert not (supervisor.state_dir / "addresses").exists()


def test_only_a_killed_worker_is_restarted_and_at_once(start: Start) -> None:
    supervisor = start()
    wait_ready(supervisor)
    killed_at = time.monotonic()
    os.kill(supervisor.pid_of("mailbox"), signal.SIGKILL)
    wait_until(lambda: supervisor.pid_of("mailbox", epoch=2), "the mailbox has been restarted")
    assert time.monotonic() - killed_at < 5.0, "starting Python on a busy machine takes a while"
    supervisor.send(signal.SIGTERM)
    assert supervisor.exit_code() == 0
    assert {name: epoch for name, _, _, epoch in supervisor.journal()} == {
        "command-queue": 1,
        "mailbox": 2,
        "gateway": 1,
    }
    (entry,) = supervisor.log_lines("worker exited")
    assert (entry["worker"], entry["last_exit"]) == ("mailbox", "killed by SIGKILL")
    assert supervisor.stdout().count("is ready") == 1


def test_a_stuck_worker_is_killed_before_it_is_replaced(start: Start) -> None:
    supervisor = start("--stuck-after", "500ms")
    wait_ready(supervisor)
    stuck = psutil.Process(supervisor.pid_of("mailbox"))
    stopped_at = time.monotonic()
    stuck.suspend()
    wait_until(lambda: supervisor.pid_of("mailbox", epoch=2), "the mailbox is replaced")
    assert time.monotonic() - stopped_at > 0.35  # its last heartbeat is at most an eighth of a second older
    assert is_gone(stuck)
    wait_until(lambda: supervisor.log_lines("worker exited"), "the log reports the exit")
    assert supervisor.log_lines("worker exited")[0]["last_exit"] == "stuck: no heartbeat for 0.5 s, killed"


def test_too_many_restarts_end_the_daemon_with_69(start: Start) -> None:
    supervisor = start("--max-restarts", "3/30", children=(("command-queue", "obedient"), ("mailbox", "mortal")))
    assert supervisor.exit_code() == 69
    assert supervisor.actions("mailbox") == ["mailbox starts"] * 4
    assert supervisor.actions("command-queue")[-1] == "command-queue stops"
    assert (
        "mailroomd: gave up after more than 3 restarts in 30 s; "
        "the last worker to exit was mailbox (exited with code 3). The log says why.\n"
    ) in supervisor.stderr()


def test_a_worker_without_memory_or_descriptors_is_restarted_later_and_forever(start: Start) -> None:
    supervisor = start("--max-restarts", "0/30", children=(("command-queue", "obedient"), ("gateway", "starving")))
    wait_until(
        lambda: supervisor.pid_of("gateway", epoch=3) or supervisor.process.poll() is not None, "the third start"
    )
    entries = supervisor.log_lines("worker ran out of memory or descriptors")
    assert [(entry["worker"], entry["restart_in_sec"]) for entry in entries] == [("gateway", 0.5), ("gateway", 1.0)]
    assert supervisor.log_lines("worker exited")[0]["last_exit"] == "exited with code 71"
    supervisor.send(signal.SIGTERM)
    assert supervisor.exit_code() == 0
    assert {epoch for name, _, _, epoch in supervisor.journal() if name == "command-queue"} == {1}


def test_a_worker_that_lost_a_thread_is_replaced_though_it_beats(start: Start) -> None:
    supervisor = start("--max-restarts", "1/60", children=(("gateway", "losing"),))
    wait_until(
        lambda: supervisor.pid_of("gateway", epoch=3) or supervisor.process.poll() is not None, "the third start"
    )
    exits = [line["last_exit"] for line in supervisor.log_lines("worker exited")]
    assert exits == ["exited with code 71", "exited with code 70"]
    errors = [str(line["error"]) for line in supervisor.log_lines("thread lost, exiting")]
    assert errors == ["MemoryError(True)", "RuntimeError('a toy is broken')"]
    supervisor.send(signal.SIGTERM)
    assert supervisor.exit_code() == 0


@pytest.mark.parametrize(
    ("function", "sentence", "code"),
    [
        ("refusing", "the toy database is newer than this daemon; upgrade the daemon", 78),
        ("reporting", "the toy root is not writable", 73),
    ],
)
def test_a_worker_that_cannot_start_ends_the_daemon_with_its_sentence(
    start: Start, function: str, sentence: str, code: int
) -> None:
    supervisor = start(children=(("command-queue", "obedient"), ("mailbox", function), ("gateway", "obedient")))
    assert supervisor.exit_code() == code
    assert supervisor.stderr() == f"mailroomd: {sentence}\n"
    assert supervisor.actions("mailbox") == ["mailbox starts"]
    assert supervisor.actions("gateway") == []
    assert supervisor.actions("command-queue")[-1] == "command-queue stops"


def test_an_exception_in_a_worker_is_one_log_line_with_a_traceback(start: Start) -> None:
    supervisor = start("--max-restarts", "0/1", children=(("mailbox", "faulty"),))
    assert supervisor.exit_code() == 69
    (line,) = supervisor.log_lines("worker failed")
    assert (line["process"], line["level"], line["epoch"]) == ("mailbox", "error", 1)
    assert line["error"] == "RuntimeError: a toy is broken"
    assert "toy_workers.py" in str(line["exception"])
    assert str(line["timestamp"]).endswith("Z")


def test_no_worker_outlives_a_killed_supervisor_not_even_a_stopped_one(start: Start) -> None:
    supervisor = start()
    wait_ready(supervisor)
    orphans = descendants(supervisor)
    assert len(orphans) == 4, "three workers and multiprocessing's resource tracker"
    psutil.Process(supervisor.pid_of("mailbox")).suspend()
    supervisor.send(signal.SIGKILL)
    supervisor.exit_code()
    wait_until(lambda: all(map(is_gone, orphans)), "every process is gone")


def test_a_second_daemon_on_one_state_directory_ends_with_75(start: Start) -> None:
    first = start()
    wait_ready(first)
    second = start()
    assert second.exit_code() == 75
    assert f"mailroomd: waiting for mailroomd (pid {first.process.pid}) to leave" in second.stderr()
    assert f"mailroomd: mailroomd (pid {first.process.pid}) already runs on {first.state_dir}" in second.stderr()
    assert second.journal() == []
    assert first.process.poll() is None


def test_a_waiting_daemon_starts_once_the_last_worker_is_gone(start: Start) -> None:
    first = start(children=(("command-queue", "lingering"),))
    wait_ready(first)
    worker = psutil.Process(first.pid_of("command-queue"))
    first.send(signal.SIGKILL)
    first.exit_code()
    second = start()
    wait_until(lambda: "waiting for" in second.stderr(), "the second daemon reports that it waits")
    assert not is_gone(worker)
    assert second.journal() == []
    (first.directory / "leave").touch()
    wait_ready(second)
    assert is_gone(worker)


def test_a_waiting_daemon_can_be_stopped(start: Start) -> None:
    wait_ready(start())
    second = start()
    wait_until(lambda: "waiting for" in second.stderr(), "the second daemon reports that it waits")
    second.send(signal.SIGTERM)
    assert second.exit_code() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_repeated_signals_to_the_whole_group_stop_it_cleanly_within_5_s(start: Start, signum: int) -> None:
    supervisor = start()
    wait_ready(supervisor)
    processes = descendants(supervisor)
    asked_at = time.monotonic()
    for _ in range(3):
        os.killpg(supervisor.process.pid, signum)
    assert supervisor.exit_code() == 0
    assert time.monotonic() - asked_at < 5.0
    assert [action for action in supervisor.actions() if action.endswith("stops")] == [
        "gateway stops",
        "mailbox stops",
        "command-queue stops",
    ]
    assert "Traceback" not in supervisor.stderr()
    wait_until(lambda: all(map(is_gone, processes)), "every process is gone")


def test_a_signal_during_the_start_stops_it_cleanly(start: Start) -> None:
    supervisor = start()
    wait_until(lambda: supervisor.actions(), "the first worker starts")
    os.killpg(supervisor.process.pid, signal.SIGINT)
    assert supervisor.exit_code() == 0
    assert "Traceback" not in supervisor.stderr()


def test_sighup_reloads_settings_without_a_restart(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "mailroomd.toml"
    file.write_text("max-unread = 10\n")
    supervisor = start("--config", str(file), "--gateways", "1", children=(("gateway", "reloading"),))
    wait_ready(supervisor)
    file.write_text('max-unread = 11\nlog-level = "debug"\nstuck-after = "20s"\ngateways = 7\n')
    os.killpg(supervisor.process.pid, signal.SIGHUP)
    wait_until(lambda: "gateway max-unread-11-debug" in supervisor.actions(), "the worker has the new settings")
    wait_until(lambda: supervisor.log_lines("settings reloaded"), "the log reports the reload")
    assert supervisor.log_lines("settings reloaded")[0]["changed"] == ["max-unread", "log-level"]
    assert supervisor.log_lines("changed settings need a restart")[0]["settings"] == ["stuck-after"]
    os.kill(supervisor.pid_of("gateway"), signal.SIGKILL)
    wait_until(lambda: "gateway max-unread-11-debug" in supervisor.actions()[2:], "its successor has them too")
    supervisor.send(signal.SIGTERM)
    assert supervisor.exit_code() == 0


def test_a_reload_of_an_invalid_file_changes_nothing(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "mailroomd.toml"
    file.write_text("max-unread = 10\n")
    supervisor = start("--config", str(file))
    wait_ready(supervisor)
    file.write_text("max-unreed = 11\n")
    supervisor.send(signal.SIGHUP)
    failed = "reload failed, keeping the current settings"
    wait_until(lambda: supervisor.log_lines(failed), "the log reports the failure")
    (line,) = supervisor.log_lines(failed)
    assert line["error"] == f"{file} has an unknown key 'max-unreed'; did you mean 'max-unread'?"
    supervisor.send(signal.SIGTERM)
    assert supervisor.exit_code() == 0
    assert {epoch for _, _, _, epoch in supervisor.journal()} == {1}


def test_a_worker_that_ignores_stop_is_killed_and_none_is_restarted(start: Start) -> None:
    supervisor = start(children=(("command-queue", "obedient"), ("mailbox", "deaf"), ("gateway", "clumsy")))
    wait_ready(supervisor)
    processes = descendants(supervisor)
    supervisor.send(signal.SIGTERM)
    assert supervisor.exit_code() == 0
    assert [line["worker"] for line in supervisor.log_lines("worker did not stop in time, killing it")] == ["mailbox"]
    assert {epoch for _, _, _, epoch in supervisor.journal()} == {1}
    assert supervisor.actions()[-1] == "command-queue stops"
    wait_until(lambda: all(map(is_gone, processes)), "every process is gone")


def test_a_suspended_and_resumed_daemon_restarts_no_worker(start: Start) -> None:
    stuck_after_sec = 1.0
    supervisor = start("--stuck-after", "1s")
    wait_until(lambda: supervisor.log_lines("ready"), "the daemon is ready")
    os.killpg(supervisor.process.pid, signal.SIGSTOP)
    pause(2 * stuck_after_sec)  # until every heartbeat is old
    supervisor.send(signal.SIGCONT)  # the supervisor first: it sees only old heartbeats
    pause(stuck_after_sec / 2)  # the supervisor checks twice
    os.killpg(supervisor.process.pid, signal.SIGCONT)
    pause(2 * stuck_after_sec)  # a worker considered stuck would be replaced
    supervisor.send(signal.SIGTERM)
    assert supervisor.exit_code() == 0
    assert {epoch for _, _, _, epoch in supervisor.journal()} == {1}


def test_a_socket_in_use_is_refused_with_75(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen()
        supervisor = start("--listen", f"unix:{path}")
        assert supervisor.exit_code() == 75
    assert f"mailroomd: another process already listens on {path}" in supervisor.stderr()
    assert supervisor.journal() == []


def test_a_dead_socket_is_removed_and_a_new_directory_is_private(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    fresh = tmp_path / "run" / "fresh.sock"
    wait_ready(start("--listen", f"unix:{path}", "--listen", f"unix:{fresh}"))
    assert not path.exists()
    assert fresh.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "flags", [("--state-dir", "{file}/state"), ("--listen", "unix:{file}/a.sock"), ("--listen", "unix:{file}")]
)
def test_a_file_in_the_way_is_named_and_ends_the_daemon_with_73(
    start: Start, tmp_path: Path, flags: tuple[str, str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    supervisor = start(flags[0], flags[1].format(file=file))
    assert supervisor.exit_code() == 73
    assert supervisor.stderr().startswith("mailroomd: ")
    assert str(file) in supervisor.stderr()
    assert "Traceback" not in supervisor.stderr()


def test_the_supervisor_imports_neither_grpc_nor_sqlite_nor_structlog() -> None:
    program = "import sys, mailroomd.supervisor.daemon as _; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)
    assert not {"grpc", "google.protobuf", "sqlite3", "structlog", "asyncio", "rich"} & set(done.stdout.split())
