"""The checker itself: it accepts sound evidence, and names each broken promise that is planted in it."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.faults.checker import broken_promises, gather
from support.faults.evidence import Evidence, Sent
from support.faults.inbox_watcher import watch_inbox
from support.faults.load import LoadPlan, digest_of, run_load
from support.faults.load_plan import make_team
from support.faults.sound_evidence import FIRST, SECOND, THIRD, inbox_file, sound_evidence
from support.harness.daemon import Daemon, short_directory
from support.harness.waiting import wait_until

READ, FILED = 4, 2


def test_sound_evidence_is_accepted() -> None:
    assert broken_promises(sound_evidence()) == []


def lose_a_message(evidence: Evidence) -> None:
    del evidence.messages[FIRST]


def change_a_content(evidence: Evidence) -> None:
    evidence.messages[FIRST].digest = digest_of("another")


def answer_with_another_content(evidence: Evidence) -> None:
    evidence.sends[0].answered_digest = digest_of("another")


def answer_with_no_state(evidence: Evidence) -> None:
    evidence.sends[0].state = 0


def forget_a_key(evidence: Evidence) -> None:
    del evidence.keys["s", f"key {FIRST}"]


def leave_a_key_without_message(evidence: Evidence) -> None:
    evidence.keys["s", "another"] = THIRD + 1


def answer_a_key_with_two_ids(evidence: Evidence) -> None:
    first = evidence.sends[0]
    evidence.sends.append(Sent(first.key, THIRD, "s", "r0", first.digest, first.digest, FILED))


def store_a_send_twice(evidence: Evidence) -> None:
    evidence.messages[THIRD].digest = evidence.messages[FIRST].digest


def show_what_is_not_stored(evidence: Evidence) -> None:
    evidence.handed.append(("r1", THIRD + 1, digest_of("ghost")))


def stream_what_is_not_stored(evidence: Evidence) -> None:
    evidence.streams[0].messages.append((THIRD + 1, "r0", digest_of("ghost")))


def commit_out_of_order(evidence: Evidence) -> None:
    evidence.commits = [FIRST, THIRD, SECOND]


def commit_below_what_was_seen(evidence: Evidence) -> None:
    evidence.commits = [FIRST, THIRD]


def leave_the_mark_behind(evidence: Evidence) -> None:
    evidence.last_id = SECOND


def miss_a_message_in_a_stream(evidence: Evidence) -> None:
    del evidence.streams[0].messages[0]


def miss_the_last_message_in_a_stream(evidence: Evidence) -> None:
    del evidence.streams[1].messages[-1]


def repeat_a_message_in_a_stream(evidence: Evidence) -> None:
    evidence.streams[0].messages.append(evidence.streams[0].messages[-1])


def stream_in_another_order(evidence: Evidence) -> None:
    evidence.streams[0].messages.reverse()


def stream_anothers_mail(evidence: Evidence) -> None:
    evidence.streams[0].messages.insert(1, evidence.streams[1].messages[0])


def forget_an_acknowledgement(evidence: Evidence) -> None:
    evidence.messages[SECOND].state = FILED


def mark_unread_mail_read(evidence: Evidence) -> None:
    evidence.messages[FIRST].state = READ


def lose_a_file(evidence: Evidence) -> None:
    del evidence.files["r0", f"{FIRST:016x}.json"]


def tear_a_file(evidence: Evidence) -> None:
    evidence.files["r0", f"{FIRST:016x}.json"] = evidence.files["r0", f"{FIRST:016x}.json"][:20]


def empty_a_file(evidence: Evidence) -> None:
    evidence.files["r0", f"{FIRST:016x}.json"] = b""


def write_anothers_content_into_a_file(evidence: Evidence) -> None:
    evidence.files["r0", f"{FIRST:016x}.json"] = inbox_file(FIRST, "r0", "another")


def keep_the_file_of_a_read_message(evidence: Evidence) -> None:
    evidence.files["r1", f"{SECOND:016x}.json"] = inbox_file(SECOND, "r1", "two")


def leave_a_file_of_no_message(evidence: Evidence) -> None:
    evidence.files["r1", f"{THIRD + 1:016x}.json"] = inbox_file(THIRD + 1, "r1", "ghost")


def leave_a_temporary_file(evidence: Evidence) -> None:
    evidence.files[".tmp", f"{THIRD:016x}"] = b""


def fail_to_write_a_file(evidence: Evidence) -> None:
    evidence.messages[FIRST].file_error = "Permission denied"


def miscount_in_the_database(evidence: Evidence) -> None:
    evidence.counters["r0"] = evidence.stats["r0"] = (2, 1)


def miscount_in_the_table(evidence: Evidence) -> None:
    evidence.stats["r0"] = (1, 1)


def hide_a_mailbox_from_the_table(evidence: Evidence) -> None:
    del evidence.stats["r0"]


def hide_unread_mail_from_check_inbox(evidence: Evidence) -> None:
    evidence.first_unread["r0"] = []


def hide_the_oldest_mail_from_check_inbox(evidence: Evidence) -> None:
    evidence.first_unread["r0"] = [THIRD]


def see_half_a_file(evidence: Evidence) -> None:
    evidence.watched.append("r0/x.json does not parse")


def see_trouble(evidence: Evidence) -> None:
    evidence.troubles.append("sender s1: INTERNAL")


@pytest.mark.parametrize(
    ("tamper", "word"),
    [
        (lose_a_message, "lost"),
        (change_a_content, "changed"),
        (answer_with_another_content, "changed"),
        (answer_with_no_state, "stateless"),
        (forget_a_key, "forgotten"),
        (leave_a_key_without_message, "half"),
        (answer_a_key_with_two_ids, "doubled: key"),
        (store_a_send_twice, "doubled: one send"),
        (show_what_is_not_stored, "phantom"),
        (stream_what_is_not_stored, "phantom"),
        (commit_out_of_order, "disorder"),
        (commit_below_what_was_seen, "disorder"),
        (leave_the_mark_behind, "disorder"),
        (miss_a_message_in_a_stream, "stream"),
        (miss_the_last_message_in_a_stream, "stream"),
        (repeat_a_message_in_a_stream, "stream"),
        (stream_in_another_order, "stream"),
        (stream_anothers_mail, "stream"),
        (forget_an_acknowledgement, "unread again"),
        (mark_unread_mail_read, "unread mail lost"),
        (lose_a_file, "file"),
        (tear_a_file, "file"),
        (empty_a_file, "file"),
        (write_anothers_content_into_a_file, "file"),
        (keep_the_file_of_a_read_message, "file"),
        (leave_a_file_of_no_message, "file"),
        (leave_a_temporary_file, "file"),
        (fail_to_write_a_file, "file"),
        (miscount_in_the_database, "counters"),
        (miscount_in_the_table, "table"),
        (hide_a_mailbox_from_the_table, "table"),
        (hide_unread_mail_from_check_inbox, "table"),
        (hide_the_oldest_mail_from_check_inbox, "table"),
        (see_half_a_file, "inbox watcher"),
        (see_trouble, "trouble"),
    ],
)
def test_each_broken_promise_is_named(tamper: Callable[[Evidence], None], word: str) -> None:
    evidence = sound_evidence()
    tamper(evidence)
    assert any(said.startswith(word) for said in broken_promises(evidence))


def test_many_examples_of_one_broken_promise_are_counted() -> None:
    evidence = sound_evidence()
    evidence.troubles = ["INTERNAL"] * 10
    assert broken_promises(evidence) == ["trouble: INTERNAL"] * 3 + ["... and 7 more of these"]


@pytest.mark.faults
def test_a_real_load_is_accepted_and_what_is_taken_from_its_daemon_is_missed() -> None:
    with short_directory() as directory:
        daemon = Daemon(directory)
        try:
            daemon.start()
            make_team(daemon.root)
            plan = LoadPlan(
                daemon.address, str(directory / "notes"), str(daemon.database), seed=1, root=str(daemon.root)
            )
            with run_load(plan) as load:
                load.wait_for_progress(200)
            evidence = gather(daemon, directory / "notes")
            assert broken_promises(evidence) == []
            assert evidence.acknowledged
            assert evidence.handed
            assert all(stream.events for stream in evidence.streams)
            assert {one.state for one in evidence.messages.values()} >= {2, 3, 4, 5}
            assert evidence.took
            assert evidence.left
            assert evidence.team_entries
            assert evidence.clearings
            assert any(one.recipient != one.to for one in evidence.sends), "an alias led"
            assert evidence.broadcasts
            assert daemon.stop() == 0
            steal_something(daemon)
            daemon.start()
            said = broken_promises(gather(daemon, directory / "notes"))
        finally:
            daemon.kill_everything()
        words = {sentence.partition(":")[0] for sentence in said}
        assert {"lost", "half", "phantom", "counters", "file"} <= words, said


def steal_something(daemon: Daemon) -> None:
    """Deletes one acknowledged message from the database, behind the daemon's back."""
    with closing(sqlite3.connect(daemon.database)) as connection:
        connection.execute(
            "DELETE FROM messages WHERE id = (SELECT max(id) FROM messages WHERE recipient = 'r0' AND sender <> 'last')"
        )
        connection.commit()


def test_the_watcher_accepts_renamed_files_and_names_those_that_are_written_in_place(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    (inbox / "early").mkdir(parents=True)
    whole: dict[str, object] = {
        "type": "message", "id": "1" * 16, "from": "s", "session_id": "early", "timestamp": "", "message_type": "text",
        "content": "", "metadata": {},
    }  # fmt: skip
    with watch_inbox(inbox, tmp_path / "log") as watched:
        rename_into(inbox / "early", "1" * 16, json.dumps(whole) + "\n")
    assert watched.violations == []
    assert watched.appeared == 1
    with watch_inbox(inbox, tmp_path / "log") as watched:
        rename_into(inbox / "early", "2" * 16, '{"half": ')
        rename_into(inbox / "early", "3" * 16, json.dumps(whole) + "\n")
        (inbox / "early" / f"{'4' * 16}.json").write_text("")
        (inbox / "late").mkdir()
        rename_into(inbox / "late", "5" * 16, "{}\n")
        log = tmp_path / "log"
        wait_until(lambda: all(f"{digit * 16}.json" in log.read_text() for digit in "2345"), "all four are found")
    assert len(watched.violations) >= 4
    assert any("does not parse" in said for said in watched.violations)
    assert any("another message's id" in said for said in watched.violations)
    assert any("did not come by a rename" in said for said in watched.violations)
    assert any(said.startswith("late/") and "not all fields" in said for said in watched.violations)


def rename_into(directory: Path, name: str, content: str) -> None:
    temporary = directory / f".{name}"
    temporary.write_text(content)
    temporary.rename(directory / f"{name}.json")
