"""Names — the rule for names of agents, sessions and mailboxes, and for addresses on other hosts.

A name becomes part of a path, and a team (`agent@team`) names a directory of its own, so the rule applies to both sides
of the @: `a@..` would lead out of the root. An address is a name, or a name and the host that has the mailbox
(`bob:build7`, `bob@alpha:build7`); a name without a host is always local. What has a host never becomes part of a path.
Invariant: a valid name, and each side of its @, is one path component that is neither hidden nor leads elsewhere.
"""

__all__ = [
    "ADDRESS_RULE",
    "HOST_RULE",
    "MAX_NAME_BYTES",
    "NAME_RULE",
    "has_host",
    "host_of",
    "is_address",
    "is_host",
    "is_name",
    "name_of",
]

import re

MAX_NAME_BYTES = 128  # of an address, too: a slot of the mailbox table
NAME_RULE = (
    "a name has 1 to 128 characters from A-Z a-z 0-9 . _ - and at most one @ (agent@team); "
    "neither part starts with a dot"
)
HOST_RULE = "a host has 1 to 63 characters from a-z 0-9 -, and neither starts nor ends with -"
ADDRESS_RULE = f"{NAME_RULE}; on another host, a colon and the host follow (agent:host): {HOST_RULE}"

_PART = r"(?!\.)[A-Za-z0-9._-]+"
_HOST = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(f"{_PART}(?:@{_PART})?")
_HOST_NAME = re.compile(_HOST)
_ADDRESS = re.compile(f"{_PART}(?:@{_PART})?(?::{_HOST})?")


def is_name(text: str) -> bool:
    """Returns whether the text is a valid name."""
    return len(text) <= MAX_NAME_BYTES and _NAME.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Returns whether the text is a valid name of a host."""
    return _HOST_NAME.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Returns whether the text is a valid name, with or without a host."""
    return len(text) <= MAX_NAME_BYTES and _ADDRESS.fullmatch(text) is not None


def has_host(address: str) -> bool:
    """Returns whether a valid address names a host."""
    return ":" in address


def name_of(address: str) -> str:
    """Returns the name in a valid address, without the host."""
    return address.partition(":")[0]


def host_of(address: str) -> str:
    """Returns the host in a valid address, "" if it names none."""
    return address.partition(":")[2]
