"""Sealer — seals for one host what only that host can read, and only this host can have written (X25519, NaCl's box).

Owns the pinned keys: the key under which a host is seen first is kept in a file of the state directory, as SSH keeps
those of its hosts, and a changed one is refused until `mailroom hub trust HOST` forgets it. While the file is damaged,
no key is pinned. Not here: where keys are published (`host_records`), the format of what is sealed (`envelope`).
Invariant: nothing is sealed for, or accepted from, a key that is not pinned.
"""

__all__ = ["PINS_NAME", "KeyMissing", "SealBroken", "Sealer"]

from base64 import b64decode, b64encode
from pathlib import Path

import msgspec
from mailroom.private_file import write_private_file
from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

from mailroomd.observability.log import log

PINS_NAME = "hub-keys.json"
"""Below the state directory."""


class KeyMissing(Exception):  # noqa: N818 - a condition, not a defect
    """No key of a host is known, or it has another one than before; the text says what to do."""


class SealBroken(Exception):  # noqa: N818 - a condition, not a defect
    """It was not sealed by that host for this one."""


class Sealer:
    """Seals and opens.

    Args:
        secret: this host's private key, base64.
        state_dir: where the pinned keys are.
    """

    def __init__(self, secret: str, state_dir: Path) -> None:
        self._private = PrivateKey(b64decode(secret))
        self._path = state_dir / PINS_NAME
        self._boxes: dict[str, Box] = {}
        self._seen: dict[str, str] = {}
        self._pins: dict[str, str] = {}
        self._version = 0
        self._damage = ""
        self._read()

    @property
    def public_key(self) -> str:
        """This host's public key, base64."""
        return b64encode(bytes(self._private.public_key)).decode()

    def see(self, host: str, key: str) -> None:
        """Records the key that a host has now, and pins it if it is the first."""
        self._read()
        self._seen[host] = key
        if host not in self._pins and not self._damage:
            self._pins[host] = key
            self._write()

    def problem(self, host: str) -> str:
        """Returns why nothing can be sealed for a host, "" if it can."""
        self._read()
        pinned = self._pins.get(host)
        if pinned is None and self._damage:
            return (
                f"the pinned keys in {self._path} cannot be read ({self._damage}): restore the file, or remove it to "
                "accept the key that each host has now"
            )
        if pinned is None:
            return f"no key of {host} is known yet: its daemon has to reach the hub once"
        if self._seen.get(host, pinned) != pinned:
            return (
                f"KEY_CHANGED: {host} has another key than before. If its operator has set it up anew, "
                f"run `mailroom hub trust {host}`"
            )
        return ""

    def seal(self, host: str, data: bytes) -> bytes:
        """Returns data as only a host can read it.

        Raises:
            KeyMissing: its key is not known, or has changed.
        """
        return bytes(self._box(host).encrypt(data))

    def open(self, host: str, data: bytes) -> bytes:
        """Returns what a host has sealed for this one.

        Raises:
            KeyMissing: its key is not known, or has changed.
            SealBroken: it was not sealed by that host for this one.
        """
        try:
            return self._box(host).decrypt(data)
        except (CryptoError, ValueError) as error:
            raise SealBroken(f"it was not sealed by {host} for this host") from error

    def _box(self, host: str) -> Box:
        problem = self.problem(host)
        if problem:
            raise KeyMissing(problem)
        box = self._boxes.get(host)
        if box is None:
            box = self._boxes[host] = Box(self._private, PublicKey(b64decode(self._pins[host])))
        return box

    def _read(self) -> None:
        try:
            version = self._path.stat().st_mtime_ns
            if version != self._version:
                self._pins = msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
                self._version = version
                self._boxes.clear()
            self._damage = ""
        except FileNotFoundError:
            self._damage = ""
        except (OSError, msgspec.MsgspecError) as error:
            if str(error) != self._damage:
                log.error("pinned keys not read, those in memory hold", path=str(self._path), error=str(error))
            self._damage = str(error)

    def _write(self) -> None:
        try:
            write_private_file(self._path, msgspec.json.encode(self._pins))
            self._version = self._path.stat().st_mtime_ns
        except OSError as error:
            log.error("pinned keys not written", path=str(self._path), error=str(error))
        self._boxes.clear()
