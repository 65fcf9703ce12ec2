"""check_directory — refuses a directory in which another user could replace the daemon's files or sockets.

Owns the rules: the directory belongs to the daemon's user; each directory above it, as written and as resolved, belongs
to that user or to root; and none of them can be written by others, unless it is sticky (/tmp) and above. A group counts
as others unless it is the user's private group. They are the rules of sshd's StrictModes.
"""

__all__ = ["DirectoryUnsafe", "check_directory", "is_private_group"]

import grp
import os
import pwd
import stat
from pathlib import Path

_OVERFLOW_UID = 65534  # how owners outside this user namespace appear (user_namespaces(7))


class DirectoryUnsafe(Exception):  # noqa: N818 - names a condition, not an error
    """Others can change a directory.

    Args:
        cause: a sentence without its full stop.
        remedy: the command that helps, or empty.
    """

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


def check_directory(directory: Path, *, may_be_sticky: bool, uid: int | None = None) -> None:
    """Returns if only one user and root can change the entries of a directory, and the path to it.

    Args:
        directory: an absolute path of an existing directory.
        may_be_sticky: whether others may add entries to a sticky directory.
        uid: of the user; None for the user of this process.

    Raises:
        DirectoryUnsafe: others can.
    """
    resolved = directory.resolve()
    uid = os.geteuid() if uid is None else uid
    _check(resolved, {uid}, may_be_sticky=may_be_sticky)
    trusted = {uid, 0} | ({_OVERFLOW_UID} if _is_in_user_namespace() else set[int]())
    for parent in dict.fromkeys((*resolved.parents, *directory.parents)):
        _check(parent, trusted, may_be_sticky=True)


def _check(directory: Path, trusted: set[int], *, may_be_sticky: bool) -> None:
    try:
        status = directory.stat()
    except OSError as error:
        raise DirectoryUnsafe(f"cannot examine {directory}: {error.strerror}") from None
    if status.st_uid not in trusted:
        raise DirectoryUnsafe(f"{directory} belongs to another user (uid {status.st_uid}), who could replace its files")
    if may_be_sticky and status.st_mode & stat.S_ISVTX:
        return
    if status.st_mode & stat.S_IWOTH:
        raise DirectoryUnsafe(f"every user can write to {directory}", f"chmod o-w {directory}")
    if status.st_mode & stat.S_IWGRP and not is_private_group(status):
        cause = f"the group {_group_name(status.st_gid)} can write to {directory}"
        raise DirectoryUnsafe(cause, f"chmod g-w {directory}")


def is_private_group(status: os.stat_result) -> bool:
    """Returns whether the group has no member but the owner, as each user's primary group on many systems."""
    if status.st_gid == 0:
        return True
    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return owner.pw_gid == status.st_gid and owner.pw_name == group.gr_name and set(group.gr_mem) <= {owner.pw_name}


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _is_in_user_namespace() -> bool:
    try:
        return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]
    except OSError:
        return False
