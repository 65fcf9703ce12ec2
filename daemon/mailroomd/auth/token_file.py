"""TokenFile — the tokens that the mail room knows, in `tokens.json` of the state directory.

Owns the file's form (JSON: `{"version": 1, "tokens": [...]}`), its mode 0600 and its change: whole, by rename, one
writer at a time. `KnownTokens` reads it for a gateway and sees each change, for the price of a stat.
Not here: what a token allows. Invariant: a file that others could have written is not believed.
"""

__all__ = ["KnownTokens", "TokenFile", "TokensUnreadable"]

import fcntl
import os
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mailroomd.auth.tokens import Token, new_token

NAME = "tokens.json"
_VERSION = 1


class TokensUnreadable(Exception):  # noqa: N818 - it names what is so
    """The file is there and of no use: nobody's token is believed. Its text is a sentence that says what to do."""


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    tokens: list[Token]


class TokenFile:
    """The file of one state directory, which need not exist.

    Args:
        state_dir: the daemon's.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / NAME

    def read(self) -> list[Token]:
        """Returns the tokens in the order of their making; none where there is no file.

        Raises:
            TokensUnreadable: it cannot be read, is not what it should be, or not its owner's alone.
        """
        try:
            with self.path.open("rb") as file:
                self._check_owner(os.fstat(file.fileno()))
                content = msgspec.json.decode(file.read(), type=_Content)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokensUnreadable(f"{self.path} cannot be read: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise TokensUnreadable(f"{self.path} is damaged ({error}): remove it, and make new tokens") from error
        if content.version != _VERSION:
            raise TokensUnreadable(f"{self.path} has version {content.version}: it is a newer mail room's")
        return content.tokens

    def create(self, agent: str, now_ms: int, ttl_ms: int = 0) -> tuple[str, Token]:
        """Makes a token; returns its text, which is kept nowhere, and its record.

        Raises:
            ValueError: the agent's name is none.
            TokensUnreadable: the file is there and of no use.
            OSError: it cannot be written.
        """
        with self._changing() as tokens:
            text, token = new_token(agent, now_ms, ttl_ms, taken={one.id for one in tokens})
            tokens.append(token)
        return text, token

    def revoke(self, ids: set[str]) -> list[Token]:
        """Forgets tokens by their ids; returns those that were there.

        Raises:
            TokensUnreadable: the file is there and of no use.
            OSError: it cannot be written.
        """
        with self._changing() as tokens:
            gone = [one for one in tokens if one.id in ids]
            tokens[:] = [one for one in tokens if one.id not in ids]
        return gone

    @contextmanager
    def _changing(self) -> Generator[list[Token]]:
        """Gives the tokens to be changed, and writes them; another writer waits."""
        directory = self.path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            tokens = self.read()
            yield tokens
            self._write(tokens, os.fstat(handle))
            os.fsync(handle)
        finally:
            os.close(handle)

    def _write(self, tokens: list[Token], directory: os.stat_result) -> None:
        temporary = self.path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:  # an administrator makes a token for a daemon that has a user of its own
                os.fchown(descriptor, directory.st_uid, directory.st_gid)
            file.write(msgspec.json.format(msgspec.json.encode(_Content(_VERSION, tokens))) + b"\n")
            file.flush()
            os.fsync(descriptor)
        temporary.replace(self.path)

    def _check_owner(self, status: os.stat_result) -> None:
        if status.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
            raise TokensUnreadable(f"{self.path} belongs to another user (uid {status.st_uid}): make it yours")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise TokensUnreadable(f"{self.path} is open to others: chmod 600 it, and make new tokens if in doubt")


class KnownTokens:
    """The file as a gateway sees it: read anew when it has changed.

    Args:
        file: the tokens' file.
    """

    def __init__(self, file: TokenFile) -> None:
        self._file = file
        self._path = os.fspath(file.path)
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: Mapping[str, Token] = {}

    def get(self, number: str) -> Token | None:
        """Returns a token by its id.

        Raises:
            TokensUnreadable: the file is of no use now; it is looked at again the next time.
        """
        try:
            status = os.stat(self._path)  # noqa: PTH116 - half the price of Path.stat, and paid for each call
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TokensUnreadable(f"{self._path} cannot be read: {error.strerror}") from error
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._stamp = None
            self._tokens = {one.id: one for one in self._file.read()}
            self._stamp = stamp
        return self._tokens.get(number)
