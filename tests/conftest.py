"""What holds for all tests: Ctrl-C ends them, and each belongs to a tier.

`make test` runs the unit and component tests without the modules in SLOW and, as a sample of the rest, the modules in
QUICK. The other tests are marked `system`: they need root, Debian packages, systemd or loop mounts, or take long.
"""

import signal

import pytest

QUICK = {"test_uc_0052.py", "test_rpc_send.py", "test_rpc_inbox.py", "test_rpc_subscribe.py"}
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of the system tier."""
    for item in items:
        name = item.path.name
        if name in SLOW or (item.path.parent.name in SYSTEM_DIRECTORIES and name not in QUICK):
            item.add_marker(pytest.mark.system)
