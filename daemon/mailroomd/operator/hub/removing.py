"""Removing a host from a hub, and admitting it again: what is done on the servers beside their configuration.

Not here: the configuration (`setting_up`), the steps on the servers (`relay.hub_operator`).
"""

__all__ = ["CannotReach", "finish_removal", "is_marked", "readmit", "spread"]

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailroomd.operator.hub.hub_description import Hub
from mailroomd.operator.hub.server_config import OPERATOR

if TYPE_CHECKING:
    from mailroomd.relay.hub_operator import HubAccess

LOOK_SEC = 1.0
NO_PASSWORD = "none"  # noqa: S105 - of a host whose removal is repeated, as for a hub that has lost its store
NOT_INSTALLED = "this needs further packages: pip install 'mailroomd[hub]'"


class CannotReach(Exception):  # noqa: N818 - a condition, not a defect
    """The servers did not do what was asked; the text says why and what to do."""


def finish_removal(hub: Hub, host: str, wait_sec: float, on_wait: Callable[[str], None]) -> None:
    """Waits until no server lets a host in, then deletes its mail at the hub and marks it as removed.

    Args:
        hub: what is known of the hub; the host is moved from `leaving` to `removed`.
        host: that the configuration no longer has.
        wait_sec: how long to wait for the servers.
        on_wait: called once with what it waits for.

    Raises:
        CannotReach: a server still lets it in, or the hub cannot be reached.
    """
    try:
        from mailroomd.relay.hub_operator import HubUnreachable, StillAdmitted, remove_from_hub
    except ModuleNotFoundError as error:
        raise CannotReach(NOT_INSTALLED) from error
    ends_sec = time.monotonic() + wait_sec
    problem = ""
    while True:
        try:
            remove_from_hub(_access(hub), host, hub.leaving.get(host, NO_PASSWORD))
            break
        except (HubUnreachable, StillAdmitted) as error:
            if time.monotonic() >= ends_sec:
                raise CannotReach(str(error)) from error
            if not problem:
                on_wait(str(error))
            problem = str(error)
        time.sleep(LOOK_SEC)
    hub.leaving.pop(host, None)
    hub.removed = sorted({*hub.removed, host})


def is_marked(hub: Hub, host: str) -> bool:
    """Returns whether a host has to be admitted again on the servers before it can join."""
    return host in hub.removed or host in hub.leaving


def readmit(hub: Hub, host: str) -> None:
    """Takes the mark from a host that was removed.

    Raises:
        CannotReach: the hub cannot be reached.
    """
    try:
        from mailroomd.relay.hub_operator import HubUnreachable, admit_again
    except ModuleNotFoundError as error:
        raise CannotReach(NOT_INSTALLED) from error
    try:
        admit_again(_access(hub), host)
    except HubUnreachable as error:
        raise CannotReach(
            f"{host} was removed from this hub, whose servers have to run to admit it again: {error}"
        ) from error
    hub.leaving.pop(host, None)
    hub.removed = [name for name in hub.removed if name != host]


def spread(hub: Hub) -> list[str]:
    """Gives each stream as many copies as the hub can hold; returns those that were changed.

    Raises:
        CannotReach: the hub cannot be reached.
    """
    try:
        from mailroomd.relay.hub_operator import HubUnreachable, raise_copies
    except ModuleNotFoundError as error:
        raise CannotReach(NOT_INSTALLED) from error
    try:
        return raise_copies(_access(hub))
    except HubUnreachable as error:
        raise CannotReach(str(error)) from error


def _access(hub: Hub) -> "HubAccess":
    from mailroomd.relay.hub_operator import HubAccess

    return HubAccess(hub.servers, OPERATOR, hub.operator, hub.shard, hub.ca)
