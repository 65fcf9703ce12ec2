"""A session's name leads to its agent's mailbox until the alias expires, in memory and in the database."""

from hypothesis import given
from hypothesis import strategies as st
from mailroomd.core.aliases import SWEEP_FROM, Alias, Aliases
from mailroomd.storage.database.message_archive import MessageArchive
from support.harness.storing import NOW_MS, StoreHarness, done


def knowing(*fields: tuple[str, str, int]) -> Aliases:
    aliases = Aliases()
    for session, agent, expires_ms in fields:
        aliases.set_alias(Alias(session, agent, expires_ms), 0)
    return aliases


def test_a_session_leads_to_its_agent_and_any_other_name_to_itself() -> None:
    aliases = knowing(("s1", "lead", 100))
    assert [aliases.agent_of(name, 0) for name in ("s1", "lead", "s2")] == ["lead", "lead", "s2"]


def test_reading_under_either_name_reads_both_mailboxes_the_agents_first() -> None:
    aliases = knowing(("s1", "lead", 100), ("s2", "lead", 100), ("s3", "other", 100))
    assert aliases.mailboxes_of("lead", 0) == aliases.mailboxes_of("s1", 0) == ("lead", "s1", "s2")
    assert aliases.mailboxes_of("nobody", 0) == ("nobody",)
    assert Aliases().mailboxes_of("lead", 0) == ("lead",)


def test_an_alias_expires_at_its_time_and_not_before() -> None:
    aliases = knowing(("s1", "lead", 100))
    assert (aliases.agent_of("s1", 99), aliases.live(99)) == ("lead", [Alias("s1", "lead", 100)])
    assert (aliases.agent_of("s1", 100), aliases.live(100)) == ("s1", [])
    assert aliases.sessions_of("lead", 100) == []


def test_an_expiry_of_0_ends_an_alias_and_setting_it_again_moves_it() -> None:
    aliases = knowing(("s1", "lead", 100), ("s2", "lead", 100), ("s1", "other", 200), ("s2", "lead", 0), ("s9", "x", 0))
    assert aliases.live(0) == [Alias("s1", "other", 200)]
    assert (aliases.sessions_of("lead", 0), aliases.sessions_of("other", 0)) == ([], ["s1"])


steps = st.lists(st.tuples(st.sampled_from("stu"), st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 9)))


@given(steps)
def test_the_live_aliases_are_those_set_last_that_have_not_expired(changes: list[tuple[str, str, int, int]]) -> None:
    aliases, plain = Aliases(), dict[str, Alias]()
    for session, agent, expires_ms, now_ms in sorted(changes, key=lambda change: change[3]):
        aliases.set_alias(Alias(session, agent, expires_ms), 0)
        plain[session] = Alias(session, agent, expires_ms)
        live = [alias for alias in plain.values() if alias.expires_ms > now_ms]
        assert sorted(aliases.live(now_ms)) == sorted(live)
        for name in "stu":
            assert aliases.agent_of(name, now_ms) == next(
                (alias.agent for alias in live if alias.session == name), name
            )
        for agent in "ab":
            assert sorted(aliases.sessions_of(agent, now_ms)) == sorted(s for s, a, _ in live if a == agent)


def test_the_latest_alias_is_stored_until_it_expires(harness: StoreHarness) -> None:
    def alias(session: str, agent: str, expires_ms: int) -> list[object]:
        command = harness.aliasing(session, agent, expires_ms)
        outcomes = harness.commit(command)
        assert outcomes == [done(command.id)]
        return list(outcomes)

    alias("s1", "lead", NOW_MS + 100)
    alias("s2", "lead", NOW_MS + 200)
    alias("s1", "other", NOW_MS + 300)
    alias("s3", "lead", NOW_MS + 400)
    alias("s3", "lead", 0)
    harness.reopen()
    archive = MessageArchive(harness.state_dir)
    assert archive.aliases(NOW_MS) == [("s1", "other", NOW_MS + 300), ("s2", "lead", NOW_MS + 200)]
    assert archive.aliases(NOW_MS + 200) == [("s1", "other", NOW_MS + 300)]
    archive.close()
    harness.store.forget_old(NOW_MS + 200)
    assert harness.rows("SELECT session FROM aliases") == [("s1",)]


def test_expired_aliases_are_removed_even_if_they_are_never_looked_up() -> None:
    aliases = Aliases()
    aliases.set_alias(Alias("lasts", "bob", 10**9), 0)
    for number in range(20 * SWEEP_FROM):
        aliases.set_alias(Alias(f"session-{number}", "bob", number + 1), number)
    assert len(aliases) <= SWEEP_FROM
    assert "lasts" in aliases
