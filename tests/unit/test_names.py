"""A name, and each side of its @, is one path component that is neither hidden nor leads elsewhere."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailroomd.model.names import host_of, is_address, is_host, is_name, name_of

ALPHABET = "ABCXYZabcxyz0189._-"
sides = st.text(ALPHABET, min_size=1, max_size=60).filter(lambda side: not side.startswith("."))


@given(sides, st.none() | sides)
def test_agents_and_team_members_are_valid_names(agent: str, team: str | None) -> None:
    assert is_name(agent if team is None else f"{agent}@{team}")


@given(st.text(st.sampled_from(ALPHABET + "@/\\\0\n é~ "), max_size=140))
def test_both_sides_of_the_at_are_visible_path_components(text: str) -> None:
    if not is_name(text):
        return
    assert 1 <= len(text) <= 128
    assert text.count("@") <= 1
    for part in (text, *text.split("@")):
        assert part
        assert not part.startswith(".")
        assert PurePosixPath(part).name == part


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", ".hidden", "a/b", "../../x", "/etc", "a\0", "a\n", "\na", "é", "a b", "@team", "a@", "a@b@c"),
        *("a@..", "a@.", "a@.team", "a" * 129, "ａ", "a\udcff"),
    ],
)
def test_hostile_names_are_invalid(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize("text", ["a", "A.b_c-9", "-", "a@b", "a..b", "a" * 128, "lead@core.team"])
def test_usual_names_are_valid(text: str) -> None:
    assert is_name(text)


hosts = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True).filter(lambda host: len(host) <= 63)


@given(sides, st.none() | sides, hosts)
def test_an_address_is_a_name_and_a_host_and_nothing_else(agent: str, team: str | None, host: str) -> None:
    name = agent if team is None else f"{agent}@{team}"
    address = f"{name}:{host}"
    assert is_host(host)
    assert is_address(name)
    assert is_address(address) == (len(address) <= 128)
    assert not is_name(address)
    assert (name_of(address), host_of(address)) == (name, host)
    assert (name_of(name), host_of(name)) == (name, "")


@pytest.mark.parametrize(
    "text",
    [
        *("bob:", ":build7", "bob:Build7", "bob:-a", "bob:a-", "bob:a.b", "bob:a:b", "bob:a@b", "bob: a", "bob:a\n"),
        *("../x:a", "bob:../a", f"bob:{'a' * 64}", f"{'b' * 125}:abc"),
    ],
)
def test_hostile_addresses_are_invalid(text: str) -> None:
    assert not is_address(text)
