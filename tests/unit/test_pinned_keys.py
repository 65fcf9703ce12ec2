"""The keys of other hosts: the first one holds, and while the file with them is damaged, no other one is accepted."""

from base64 import b64encode
from pathlib import Path

import pytest
from mailroomd.relay.sealing import PINS_NAME, KeyMissing, Sealer

OWN, THEIRS, ANOTHER = (b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))


def test_another_key_of_a_host_is_refused(tmp_path: Path) -> None:
    Sealer(OWN, tmp_path).see("b", THEIRS)
    again = Sealer(OWN, tmp_path)
    again.see("b", ANOTHER)
    assert again.problem("b").startswith("KEY_CHANGED: b has another key")


def test_no_key_is_pinned_while_the_file_is_damaged(tmp_path: Path) -> None:
    Sealer(OWN, tmp_path).see("b", THEIRS)
    pins = tmp_path / PINS_NAME
    whole = pins.read_bytes()
    pins.write_bytes(b"")
    sealer = Sealer(OWN, tmp_path)
    sealer.see("b", ANOTHER)
    with pytest.raises(KeyMissing, match=r"cannot be read .*: restore the file, or remove it"):
        sealer.seal("b", b"mail")
    assert pins.read_bytes() == b""
    pins.write_bytes(whole)
    assert sealer.problem("b").startswith("KEY_CHANGED")
    pins.unlink()
    sealer = Sealer(OWN, tmp_path)
    sealer.see("b", ANOTHER)
    assert sealer.problem("b") == ""


def test_keys_are_pinned_again_when_the_same_file_is_back(tmp_path: Path) -> None:
    sealer = Sealer(OWN, tmp_path)
    sealer.see("b", THEIRS)
    pins = tmp_path / PINS_NAME
    away = pins.rename(tmp_path / "away")
    pins.mkdir()
    assert "cannot be read" in sealer.problem("c")
    pins.rmdir()
    away.rename(pins)
    sealer.see("c", ANOTHER)
    assert sealer.problem("c") == ""
