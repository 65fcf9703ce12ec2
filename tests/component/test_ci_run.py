""".ci/run passes where every check and every tier of tests passes, and fails where one of them fails."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.harness.daemon import is_gone
from support.harness.waiting import wait_until

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "run"
TARGETS = ("check", "conformance", "test", "test-dashboard", "test-agents", "test-system", "test-hosts")
# Stands for make: writes down its target, and prints what pytest prints last.
# SLOW takes a minute. BROKEN fails, once SLOW has begun.
MAKE = """#!/usr/bin/env bash
echo "$1" >>targets
[[ $1 != "${SLOW:-}" ]] || { echo $$ >slow; exec sleep 60; }
if [[ $1 == "${BROKEN:-}" ]]; then
  [[ -z ${SLOW:-} ]] || until [[ -s slow ]]; do sleep 0.01; done
  echo "=== 1 failed in 0.10s ==="
  exit 2
fi
echo "=== 1 passed in 0.10s ==="
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with this .ci/run, whose make and scripts are stand-ins."""
    for name, source in (
        (".ci/run", SCRIPT.read_text()),
        ("bin/make", MAKE),
        ("scripts/toolchains", "#!/usr/bin/env bash\n"),
        ("scripts/need-debian", "#!/usr/bin/env bash\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        path.chmod(0o755)
    return tmp_path


def run(project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{project}/bin:{os.environ['PATH']}", "TMPDIR": str(project), **variables}
    return subprocess.run(
        ["bash", ".ci/run"], cwd=project, env=env, capture_output=True, text=True, timeout=30, check=False
    )


def test_it_passes_where_all_pass(project: Path) -> None:
    done = run(project)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(TARGETS) <= set((project / "targets").read_text().split())
    assert list(project.glob("tmp.*")) == []


@pytest.mark.parametrize("broken", TARGETS)
def test_it_fails_where_one_fails(project: Path, broken: str) -> None:
    done = run(project, BROKEN=broken)
    assert done.returncode != 0
    assert "1 failed in" in done.stdout


def test_it_ends_the_checks_where_it_ends_before_them(project: Path) -> None:
    done = run(project, SLOW="check", BROKEN="conformance")
    checks = int((project / "slow").read_text())
    assert done.returncode != 0
    try:
        wait_until(lambda: not is_running(checks), "the checks end")
    finally:
        if is_running(checks):
            os.kill(checks, signal.SIGKILL)


def is_running(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return not is_gone(psutil.Process(pid))
    return False
