"""Rules say which hosts may write to which agents; what is denied is refused whatever accepts it."""

import pytest
from mailroomd.core.host_policy import HostPolicy
from mailroomd.model.quantities import host_rule


@pytest.mark.parametrize(
    ("accept", "deny", "host", "agent", "is_accepted"),
    [
        (("*",), ("",), "a", "bob", True),
        (("a",), (), "a", "bob", True),
        (("a",), (), "b", "bob", False),
        (("build*=bob",), (), "build7", "bob", True),
        (("build*=bob",), (), "build7", "ann", False),
        (("build*=bob", "a=ann"), (), "a", "ann", True),
        (("*",), ("a",), "a", "bob", False),
        (("*",), ("a=ops*",), "a", "ops@alpha", False),
        (("*",), ("a=ops*",), "a", "bob", True),
        (("*",), ("a=bob",), "a", "bob", False),
        (("a?",), (), "a1", "bob", True),
        (("a?",), (), "a12", "bob", False),
    ],
)
def test_a_rule_decides(
    accept: tuple[str, ...], deny: tuple[str, ...], host: str, agent: str, is_accepted: bool
) -> None:
    assert (HostPolicy(accept, deny).refusal(host, agent) == "") == is_accepted


def test_a_refusal_names_the_host_the_agent_and_the_setting() -> None:
    assert HostPolicy(("*",), ("a",)).refusal("a", "bob").startswith("host a may not write to bob here (--hub-deny")
    assert "--hub-accept" in HostPolicy(("b",), ()).refusal("a", "bob")


def test_rules_that_match_no_host_are_named() -> None:
    assert HostPolicy(("*", "build*=bob", "bild7"), ("", "a")).unmatched(["build7", "b"]) == ["bild7", "a"]


@pytest.mark.parametrize("rule", ["", "=bob", "Build", "a=", "a=b c", "a/b", "a:b"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="HOST or HOST=AGENT"):
        host_rule(rule)
