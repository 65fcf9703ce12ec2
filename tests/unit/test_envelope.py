"""Only the host that it is for reads a batch, only from the host that sealed it, and a changed key needs trust."""

from base64 import b64encode
from pathlib import Path

import pytest
from mailroomd.operator.hub.joining import forget_key
from mailroomd.relay.envelope import (
    Envelope,
    ForeignVersion,
    MessageItem,
    ReceiptItem,
    Unreadable,
    open_envelope,
    seal_envelope,
)
from mailroomd.relay.sealing import KeyMissing, Sealer


def sealer(directory: Path, number: int) -> Sealer:
    directory.mkdir()
    return Sealer(b64encode(bytes([number]) * 32).decode(), directory)


@pytest.fixture
def hosts(tmp_path: Path) -> dict[str, Sealer]:
    """Three hosts that know each other."""
    made = {name: sealer(tmp_path / name, number) for number, name in enumerate("abc", 1)}
    for own in made.values():
        for name, other in made.items():
            own.see(name, other.public_key)
    return made


def envelope(content: bytes = b"draft") -> Envelope:
    return Envelope("a", "b", 1, 2, [MessageItem(1, 5, content), ReceiptItem(1, 6, 3, 4, 2, 9)])


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_batch_arrives_as_it_was_sealed(hosts: dict[str, Sealer], size: int) -> None:
    sealed = seal_envelope(envelope(b"x" * size), hosts["a"])
    assert b"xxx" not in sealed
    assert open_envelope(sealed, "a", "b", hosts["b"]) == envelope(b"x" * size)


def test_nobody_else_reads_it_or_passes_for_its_sender(hosts: dict[str, Sealer]) -> None:
    sealed = seal_envelope(envelope(), hosts["a"])
    with pytest.raises(Unreadable):
        open_envelope(sealed, "a", "c", hosts["c"])
    with pytest.raises(Unreadable):
        open_envelope(sealed, "c", "b", hosts["b"])
    with pytest.raises(Unreadable):
        open_envelope(sealed[:-1] + b"\0", "a", "b", hosts["b"])
    with pytest.raises(Unreadable):
        open_envelope(seal_envelope(Envelope("c", "b", 0, 0, []), hosts["a"]), "a", "b", hosts["b"])


def test_another_version_is_told_from_damage(hosts: dict[str, Sealer]) -> None:
    sealed = seal_envelope(envelope(), hosts["a"])
    with pytest.raises(ForeignVersion, match="version 9"):
        open_envelope(b"\x09" + sealed[1:], "a", "b", hosts["b"])
    with pytest.raises(ForeignVersion):
        open_envelope(b"", "a", "b", hosts["b"])


def test_a_changed_key_is_refused_until_it_is_trusted(hosts: dict[str, Sealer], tmp_path: Path) -> None:
    a, other = hosts["a"], sealer(tmp_path / "new", 9)
    a.see("b", other.public_key)
    with pytest.raises(KeyMissing, match="mailroom hub trust b"):
        seal_envelope(envelope(), a)
    assert forget_key(tmp_path / "a", "b")
    assert "no key of b" in a.problem("b")
    a.see("b", other.public_key)
    assert a.problem("b") == ""
    other.see("a", a.public_key)
    assert open_envelope(seal_envelope(envelope(), a), "a", "b", other) == envelope()


def test_a_pinned_key_outlives_the_relay(hosts: dict[str, Sealer], tmp_path: Path) -> None:
    again = Sealer(b64encode(bytes([1]) * 32).decode(), tmp_path / "a")
    assert again.problem("b") == ""
    again.see("b", hosts["c"].public_key)
    assert "KEY_CHANGED" in again.problem("b")
    assert (tmp_path / "a" / "hub-keys.json").stat().st_mode & 0o077 == 0
