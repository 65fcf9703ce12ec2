"""What holds for all tests: Ctrl-C ends them, and each belongs to a tier.

`make test` runs the unit and component tests without the modules in SLOW and, as a sample of the rest, the modules in
QUICK. The other tests are marked `system`: they need root, Debian packages, systemd or loop mounts, or take long.
"""

import signal
from pathlib import Path

import pytest

QUICK = {"test_uc_0052.py", "test_rpc_send.py"}
SLOW = {
    "test_cli_commands.py",
    "test_setup.py",
    "test_mcp_entrance.py",
    "test_mailbox_table_model.py",
    "test_cli_live.py",
    "test_sdk_metadata.py",
    "test_in_flight_commands.py",
    "test_link.py",
}
SYSTEM_DIRECTORIES = {"integration", "e2e", "faults"}

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as where pytest runs in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignores what `make test` leaves out anyway: each of its processes would import it all, which takes seconds."""
    return True if config.option.markexpr == "not system" and is_in_system_tier(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of the system tier."""
    for item in items:
        if is_in_system_tier(item.path):
            item.add_marker(pytest.mark.system)


def is_in_system_tier(module: Path) -> bool:
    """Returns whether a test module belongs to the system tier."""
    if module.name in SLOW:
        return True
    return module.parent.name in SYSTEM_DIRECTORIES and module.name not in QUICK
