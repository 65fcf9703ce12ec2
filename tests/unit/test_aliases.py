"""A session's name leads to its agent's mailbox as long as the alias lasts, in memory and in the database."""

from hypothesis import given
from hypothesis import strategies as st
from mailroomd.core.aliases import TIDY_FROM, Alias, Aliases
from mailroomd.protocol.commands import AliasWritten, WriteAlias
from mailroomd.storage.database.message_archive import MessageArchive
from support.harness.storing import NOW_MS, Desk


def knowing(*aliases: tuple[str, str, int]) -> Aliases:
    made = Aliases()
    for one in aliases:
        made.set(Alias(*one), 0)
    return made


def test_a_session_leads_to_its_agent_and_any_other_name_to_itself() -> None:
    aliases = knowing(("s1", "lead", 100))
    assert [aliases.agent_of(name, 0) for name in ("s1", "lead", "s2")] == ["lead", "lead", "s2"]


def test_who_reads_under_either_name_reads_both_mailboxes_the_agents_first() -> None:
    aliases = knowing(("s1", "lead", 100), ("s2", "lead", 100), ("s3", "other", 100))
    assert aliases.mailboxes_of("lead", 0) == aliases.mailboxes_of("s1", 0) == ("lead", "s1", "s2")
    assert aliases.mailboxes_of("nobody", 0) == ("nobody",)
    assert Aliases().mailboxes_of("lead", 0) == ("lead",)


def test_an_alias_ends_at_its_moment_and_not_before() -> None:
    aliases = knowing(("s1", "lead", 100))
    assert (aliases.agent_of("s1", 99), aliases.live(99)) == ("lead", [Alias("s1", "lead", 100)])
    assert (aliases.agent_of("s1", 100), aliases.live(100)) == ("s1", [])
    assert aliases.sessions_of("lead", 100) == []


def test_setting_an_alias_to_0_ends_it_and_setting_it_anew_moves_it() -> None:
    aliases = knowing(("s1", "lead", 100), ("s2", "lead", 100), ("s1", "other", 200), ("s2", "lead", 0), ("s9", "x", 0))
    assert aliases.live(0) == [Alias("s1", "other", 200)]
    assert (aliases.sessions_of("lead", 0), aliases.sessions_of("other", 0)) == ([], ["s1"])


steps = st.lists(st.tuples(st.sampled_from("stu"), st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 9)))


@given(steps)
def test_the_aliases_are_those_that_were_set_last_and_still_last(taken: list[tuple[str, str, int, int]]) -> None:
    aliases, plain = Aliases(), dict[str, Alias]()
    for session, agent, expires_ms, now_ms in sorted(taken, key=lambda one: one[3]):
        aliases.set(Alias(session, agent, expires_ms), 0)
        plain[session] = Alias(session, agent, expires_ms)
        lasting = [one for one in plain.values() if one.expires_ms > now_ms]
        assert sorted(aliases.live(now_ms)) == sorted(lasting)
        for name in "stu":
            assert aliases.agent_of(name, now_ms) == next((one.agent for one in lasting if one.session == name), name)
        for agent in "ab":
            assert sorted(aliases.sessions_of(agent, now_ms)) == sorted(s for s, a, _ in lasting if a == agent)


def test_an_alias_is_kept_until_it_is_over_and_the_last_word_counts(desk: Desk) -> None:
    def alias(session: str, agent: str, expires_ms: int) -> list[object]:
        command = WriteAlias(desk.issue(), session, agent, expires_ms)
        outcomes = desk.commit(command)
        assert outcomes == [AliasWritten(command.id, session, agent, expires_ms)]
        return list(outcomes)

    alias("s1", "lead", NOW_MS + 100)
    alias("s2", "lead", NOW_MS + 200)
    alias("s1", "other", NOW_MS + 300)
    alias("s3", "lead", NOW_MS + 400)
    alias("s3", "lead", 0)
    desk.reopen()
    archive = MessageArchive(desk.state_dir)
    assert archive.aliases(NOW_MS) == [("s1", "other", NOW_MS + 300), ("s2", "lead", NOW_MS + 200)]
    assert archive.aliases(NOW_MS + 200) == [("s1", "other", NOW_MS + 300)]
    archive.close()
    desk.store.forget_old(NOW_MS + 200)
    assert desk.rows("SELECT session FROM aliases") == [("s1",)]


def test_aliases_that_are_over_are_forgotten_though_nobody_asks_for_them() -> None:
    aliases = Aliases()
    aliases.set(Alias("lasts", "bob", 10**9), 0)
    for number in range(20 * TIDY_FROM):
        aliases.set(Alias(f"session-{number}", "bob", number + 1), number)
    assert len(aliases) <= TIDY_FROM
    assert "lasts" in aliases
