"""What holds for all tests: Ctrl-C ends them, and each belongs to a tier.

`make test` runs the unit and component tests and, as a sample of the rest, the modules in QUICK. The other tests are
marked `system`: they need root, Debian packages, systemd or loop mounts, or take long.
"""

import signal

import pytest

QUICK = {"test_uc_0052.py", "test_rpc_send.py", "test_rpc_inbox.py", "test_rpc_subscribe.py"}
SYSTEM_DIRECTORIES = {"integration", "e2e", "faults"}

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as where pytest runs in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of the system tier."""
    for item in items:
        if item.path.parent.name in SYSTEM_DIRECTORIES and item.path.name not in QUICK:
            item.add_marker(pytest.mark.system)
