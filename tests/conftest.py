"""What holds for all tests: Ctrl-C ends them, and each belongs to a tier.

`make test` runs what is neither marked `slow` nor `system`. The tests of whole daemons (integration, e2e, faults) are
slow, without the modules in QUICK, a sample of them for `make test`; other slow modules mark themselves, and a test
that needs root or Debian packages is marked `system`, wherever it is. `tests/agents` and `tests/hosts` are tiers of
their own.
"""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from support.harness.daemon import Daemon, running_daemon

FAST_TESTS = "not slow and not system"  # what `make test` selects
HOST_TESTS = "hosts"  # what `make test-hosts` selects, or begins with: several daemons and their hub
BROWSER_TESTS = "browser"  # what `make test-dashboard` selects; nothing else collects them: they need more packages
SLOW_DIRECTORIES = {"integration", "e2e", "faults"}
QUICK = {"test_uc_0052.py", "test_rpc_send.py"}

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as where pytest runs in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", name="daemon")
def common_daemon() -> Generator[Daemon]:
    """A daemon with the defaults, for all tests of a module."""
    with running_daemon() as running:
        yield running


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignores what `make test` leaves out anyway: each of its processes would import it all, which takes seconds."""
    if collection_path.name == "dashboard" and config.option.markexpr != BROWSER_TESTS:
        return collection_path.parent.name == "tests" or None
    if collection_path.name == "hosts" and collection_path.parent.name == "tests":
        return None if config.option.markexpr.startswith(HOST_TESTS) else True
    if collection_path.name == "agents" and collection_path.parent.name == "tests":
        return None if "MAILROOM_AGENTS_BIN" in os.environ else True  # `make test-agents` installs the programs
    return True if config.option.markexpr == FAST_TESTS and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of whole daemons as slow."""
    for item in items:
        if is_slow(item.path):
            item.add_marker(pytest.mark.slow)


def is_slow(module: Path) -> bool:
    """Returns whether a module is slow because of where it is."""
    return module.parent.name in SLOW_DIRECTORIES and module.name not in QUICK
