"""Aliases: which mailbox is behind a name; those that are over are forgotten, however many there were."""

from mailroomd.core.aliases import TIDY_FROM, Alias, Aliases


def test_an_alias_leads_to_its_agent_until_it_is_over() -> None:
    aliases = Aliases()
    aliases.set(Alias("session", "bob", 100), 0)
    assert aliases.agent_of("session", 99) == "bob"
    assert aliases.mailboxes_of("session", 99) == aliases.mailboxes_of("bob", 99) == ("bob", "session")
    assert aliases.agent_of("session", 100) == "session"
    assert aliases.mailboxes_of("bob", 100) == ("bob",)


def test_an_alias_that_is_set_anew_leads_to_the_new_agent_alone() -> None:
    aliases = Aliases()
    aliases.set(Alias("session", "bob", 100), 0)
    aliases.set(Alias("session", "eve", 100), 0)
    assert aliases.sessions_of("bob", 0) == []
    assert aliases.sessions_of("eve", 0) == ["session"]
    aliases.set(Alias("session", "eve", 0), 0)
    assert len(aliases) == 0


def test_aliases_that_are_over_are_forgotten_though_nobody_asks_for_them() -> None:
    aliases = Aliases()
    aliases.set(Alias("lasts", "bob", 10**9), 0)
    for number in range(20 * TIDY_FROM):
        aliases.set(Alias(f"session-{number}", "bob", number + 1), number)
    assert len(aliases) <= TIDY_FROM
    assert "lasts" in aliases
