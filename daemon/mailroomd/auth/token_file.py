"""TokenFile — the tokens that the daemon accepts, in `tokens.json` of the state directory.

Owns the file's format (JSON: `{"version": 1, "tokens": [...]}`), its mode 0600, and its changes: whole, by rename, one
writer at a time. `TokenCache` reads the file for a gateway and notices each change for the price of one stat.
Not here: what a token allows. Invariant: a file that another user could have written is not trusted. Root may edit the
file of a daemon that runs as another user, but a daemon of root does not trust it.
"""

__all__ = ["TokenCache", "TokenFile", "TokensUnreadable"]

import fcntl
import os
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from mailroom.regular_file import read_regular

from mailroomd.auth.tokens import Token, new_token

NAME = "tokens.json"
MAX_BYTES = 64 << 20  # of the file: some 300,000 tokens
_VERSION = 1


class TokensUnreadable(Exception):  # noqa: N818 - names the state of the file
    """The token file exists but cannot be used: no token is accepted. The text says what to do."""


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    tokens: list[Token]


class TokenFile:
    """The token file of one state directory; it need not exist.

    Args:
        state_dir: the daemon's state directory.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / NAME

    def read(self) -> list[Token]:
        """Returns the tokens in the order of their creation; none if there is no file.

        Raises:
            TokensUnreadable: the file cannot be read, is malformed, or others have access to it.
        """
        return self._read({os.geteuid(), 0})

    def read_as_operator(self) -> list[Token]:
        """Returns the tokens like `read`, also for root if the file belongs to the owner of the state directory.

        Raises:
            TokensUnreadable: as for `read`.
        """
        try:
            return self._read(_operator_trusts(self.path.parent.stat()))
        except FileNotFoundError:
            return []

    def _read(self, trusted_uids: set[int]) -> list[Token]:
        try:
            text, status = read_regular(self.path, MAX_BYTES)
            self._check_owner(status, trusted_uids)
            content = msgspec.json.decode(text, type=_Content)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokensUnreadable(f"{self.path} cannot be read: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise TokensUnreadable(f"{self.path} is damaged ({error}): remove it and create new tokens") from error
        if content.version != _VERSION:
            raise TokensUnreadable(f"{self.path} has version {content.version}: a newer mailroomd wrote it")
        return content.tokens

    def create(self, agent: str | None, now_ms: int, ttl_ms: int = 0) -> tuple[str, Token]:
        """Creates a token for an agent, or for an administrator if `agent` is None.

        Returns its text, which is stored nowhere, and its record.

        Raises:
            ValueError: the agent's name is not valid.
            TokensUnreadable: the file exists but cannot be used.
            OSError: the file cannot be written.
        """
        with self._edit() as tokens:
            text, token = new_token(agent, now_ms, ttl_ms, taken={token.id for token in tokens})
            tokens.append(token)
        return text, token

    def revoke(self, ids: set[str]) -> list[Token]:
        """Removes tokens by their ids; returns those that existed.

        Raises:
            TokensUnreadable: the file exists but cannot be used.
            OSError: the file cannot be written.
        """
        with self._edit() as tokens:
            revoked = [token for token in tokens if token.id in ids]
            tokens[:] = [token for token in tokens if token.id not in ids]
        return revoked

    @contextmanager
    def _edit(self) -> Generator[list[Token]]:
        """Yields the tokens to be changed, then writes them; other writers wait."""
        directory = self.path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory_fd, fcntl.LOCK_EX)
            directory_status = os.fstat(directory_fd)
            tokens = self._read(_operator_trusts(directory_status))
            yield tokens
            self._write(tokens, directory_status)
            os.fsync(directory_fd)
        finally:
            os.close(directory_fd)

    def _write(self, tokens: list[Token], directory: os.stat_result) -> None:
        temporary = self.path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:  # root creates a token for a daemon that runs as another user
                os.fchown(descriptor, directory.st_uid, directory.st_gid)
            file.write(msgspec.json.format(msgspec.json.encode(_Content(_VERSION, tokens))) + b"\n")
            file.flush()
            os.fsync(descriptor)
        temporary.replace(self.path)

    def _check_owner(self, status: os.stat_result, trusted_uids: set[int]) -> None:
        if status.st_uid not in trusted_uids:
            raise TokensUnreadable(f"{self.path} belongs to another user (uid {status.st_uid}): chown it")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise TokensUnreadable(f"{self.path} is open to others: chmod 600 it, and replace its tokens if in doubt")


def _operator_trusts(directory: os.stat_result) -> set[int]:
    """Returns the users whose token file an operator may edit: root also that of the state directory's owner."""
    uid = os.geteuid()
    return {uid, 0} if uid else {0, directory.st_uid}


class TokenCache:
    """The token file as a gateway sees it; read again when it has changed.

    Args:
        file: the token file.
    """

    def __init__(self, file: TokenFile) -> None:
        self._file = file
        self._path = os.fspath(file.path)
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: Mapping[str, Token] = {}

    def get(self, token_id: str) -> Token | None:
        """Returns a token by its id.

        Raises:
            TokensUnreadable: the file cannot be used now; the next call tries again.
        """
        try:
            status = os.stat(self._path)  # noqa: PTH116 - half the price of Path.stat, and paid by every call
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TokensUnreadable(f"{self._path} cannot be read: {error.strerror}") from error
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._stamp = None
            self._tokens = {token.id: token for token in self._file.read()}
            self._stamp = stamp
        return self._tokens.get(token_id)
