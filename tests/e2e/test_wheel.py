"""The wheel as users get it: built from the sdist, installed with the lock into a clean environment, and used.

Starts mailroomd by itself, not by `Daemon`, which runs the one of this checkout.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.harness.waiting import BOUND_SEC, wait_until

pytestmark = pytest.mark.timeout(400)  # seconds: with empty caches, most of it is the network's

REPOSITORY = Path(__file__).parents[2]
ALL_EXTRAS = REPOSITORY / "requirements-all.lock"
UV = Path(sys.executable).with_name("uv")
SLOW_SEC = 100  # with an empty cache, the network decides


def run(*words: object, cwd: Path | None = None, **extra: str) -> str:
    """Runs a command in a user's environment, without this checkout on its paths."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAILROOM_", "XDG_", "PYTHON", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env=kept | extra,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SLOW_SEC,
        check=False,
    )
    assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def uv(*words: object) -> None:
    """Runs uv with the package index of this machine."""
    run(REPOSITORY / "scripts" / "index-of-pip", UV, *words)


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """A directory with sdist and wheel."""
    with tempfile.TemporaryDirectory(prefix="mrw-") as directory:
        uv("build", "--quiet", "--out-dir", directory, REPOSITORY)
        yield Path(directory)


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """The programs' directory of a clean environment: what the lock says, then the wheel and nothing else."""
    venv = built / "venv"
    uv("venv", "--quiet", "--python", sys.executable, venv)
    uv("pip", "sync", "--quiet", "--python", venv, "--require-hashes", REPOSITORY / "requirements.lock")
    uv("pip", "install", "--quiet", "--python", venv, "--no-deps", next(built.glob("*.whl")))
    uv("pip", "check", "--quiet", "--python", venv)
    uv("pip", "install", "--quiet", "--dry-run", "--python", venv, "--require-hashes", "--requirement", ALL_EXTRAS)
    return venv / "bin"


def test_wheel_and_sdist_contain_the_expected_files(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"mailroom", "mailroom_apps", "mailroomd"}
    assert {"mailroomd/units/user/mailroomd.service", "mailroomd/units/mailroomd.service"} <= names
    assert {"mailroom/py.typed", "mailroomd/py.typed", "mailroom/v1/mailroom_pb2.pyi"} <= names
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"Makefile", "requirements.lock", "requirements-all.lock"} <= names
    assert {"protos/mailroom/v1/mailroom.proto", "systemd/mailroomd.service"} <= names
    assert {"scripts/check", "tests/e2e/test_wheel.py", "docs/settings.md"} <= names


def test_the_sdist_holds_nothing_but_files_of_the_repository(built: Path) -> None:
    with foreign_file(REPOSITORY / ".cache" / "test-sdist" / "tests" / "LICENSE"):
        uv("build", "--quiet", "--sdist", "--out-dir", built / "again", REPOSITORY)
    ours = set(run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY).splitlines())
    with tarfile.open(next((built / "again").glob("*.tar.gz"))) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if not member.isdir()}
    names = {name.replace("daemon/mailroomd/units/", "systemd/") for name in names}  # a symbolic link to it
    assert names - ours == {"PKG-INFO"}


@contextmanager
def foreign_file(path: Path) -> Generator[None]:
    """Leaves a file whose path ends like one of ours, as packages in a virtual environment do."""
    path.parent.mkdir(parents=True)
    path.touch()
    try:
        yield
    finally:
        shutil.rmtree(path.parents[1])


def test_the_installed_programs_carry_mail_and_use_nothing_of_this_checkout(installed: Path, built: Path) -> None:
    version = next(built.glob("*.whl")).name.split("-")[1]
    assert run(installed / "mailroomd", "--version", cwd=built) == f"mailroomd {version}\n"
    assert run(installed / "mailroom", "--version", cwd=built) == f"mailroom {version}\n"
    where = "import mailroom, mailroomd; print(mailroom.__file__, mailroomd.__file__)"
    assert str(REPOSITORY) not in run(installed / "python", "-c", where, cwd=built)
    home = {"HOME": str(built / "home")}
    said = built / "said"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_", "PYTHON"))}
    with said.open("wb") as out:
        daemon = subprocess.Popen([installed / "mailroomd"], env=kept | home, stdout=out, stderr=out, cwd=built)
    try:
        wait_until(lambda: " is ready: " in said.read_text() or daemon.poll() is not None, "the daemon is ready")
        assert daemon.poll() is None, said.read_text()
        run(installed / "mailroom", "send", "abc", "go", "--from", "dashboard", cwd=built, **home)
        (line,) = run(installed / "mailroom", "inbox", "abc", "--json", cwd=built, **home).splitlines()
        assert (json.loads(line)["sender"], json.loads(line)["content"]) == ("dashboard", "go")
        run(installed / "mailroom", "ack", "abc", "--all", cwd=built, **home)
        assert run(installed / "mailroom", "inbox", "abc", "--json", cwd=built, **home) == ""
    finally:
        daemon.terminate()
        assert daemon.wait(BOUND_SEC) == 0
