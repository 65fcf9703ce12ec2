"""Search finds messages by the same rules in the index and outside it, and no deleted message."""

import re
import sqlite3
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.storage.database import message_search, search_index
from mailroomd.storage.database.connection import open_archive
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.message_search import Deadline, matching_ids
from mailroomd.storage.database.search_index import match_expression
from mailroomd.storage.database.transactions import StoreFull
from support.harness.storing import NOW_MS, StoreHarness, draft, fill_up, make_room
from support.harness.waiting import BOUND_SEC


@pytest.fixture
def archive(harness: StoreHarness) -> Iterator[MessageArchive]:
    made = MessageArchive(harness.state_dir)
    yield made
    made.close()


def index_all(harness: StoreHarness) -> int:
    """Returns how many slices it took."""
    slices = 1
    while harness.store.index_more():
        slices += 1
    return slices


def contents(archive: MessageArchive, query: str, mailbox: str | None = None, limit: int = 100) -> list[str]:
    return [message.draft.content for message in archive.before(mailbox, 1 << 62, limit, query=query)]


TEXTS = ["The build is green", "build the wall", "Büro öffnet", "buro", "re-build: done", "ICH WEISS", "1.2.3", "naïve"]


FOUND = {
    "build": [0, 1, 4],
    "BUILD the": [0, 1],
    '"the build"': [0],
    '"build the"': [1],
    '"build the" wall': [1],
    "bui*": [0, 1, 4],
    "bui": [],
    "re-build": [4],
    "gre* the": [0],
    "büro": [2, 3],
    "buro": [2, 3],
    "offnet": [2],
    "NAIVE": [7],
    "weiß": [],
    "1.2": [6],
    "done AND build": [],
    "build OR wall": [],
    '"unfinished build': [],
    '"the build': [0],
    "the\0build": [0, 1],
}


@pytest.mark.parametrize("is_indexed", [True, False])
def test_all_words_must_match_as_phrases_or_prefixes_without_case_and_accents(
    harness: StoreHarness, archive: MessageArchive, is_indexed: bool
) -> None:
    harness.send(*[draft(content=text) for text in TEXTS])
    if is_indexed:
        index_all(harness)
    found = {query: [TEXTS.index(text) for text in reversed(contents(archive, query))] for query in FOUND}
    assert found == FOUND


@pytest.mark.parametrize("query", ["", " ", "*", '"', '""', "- :", "…", "🚀"])
def test_a_query_without_a_word_finds_nothing(query: str) -> None:
    assert match_expression(query) == ""


@given(st.text())
@example('a" OR "b')
@example("a\0b")
@example("mailbox : x616263")
@example("NEAR(a b)")
@example("^a {a b} : c + d*")
@settings(max_examples=100)
def test_no_query_is_a_syntax_error_or_looks_at_anything_but_the_content(query: str) -> None:
    memory = sqlite3.connect(":memory:")
    memory.execute("CREATE VIRTUAL TABLE search USING fts5 (mailbox, content)")
    memory.execute("INSERT INTO search VALUES (?, '')", (query,))
    expression = match_expression(query)
    if expression:
        wanted = f"content : ({expression})"
        assert memory.execute("SELECT rowid FROM search WHERE search MATCH ?", (wanted,)).fetchall() == []
    memory.close()


def test_a_message_is_in_the_index_exactly_up_to_the_mark_and_slices_are_bounded(
    harness: StoreHarness, archive: MessageArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "FILL_SLICE", 4)
    monkeypatch.setattr(search_index, "FILL_CHARS", 1000)
    message_ids = harness.send(*[draft(content="word " + "x" * (400 if n >= 6 else 1)) for n in range(12)])
    marks: list[int] = []
    while harness.store.index_more():
        marks += [harness.rows("SELECT value FROM meta WHERE name = 'indexed_id'")[0][0]]
        assert harness.rows("SELECT max(rowid) FROM search WHERE search MATCH 'word'") == [(marks[-1],)]
        assert len(contents(archive, "word")) == 12
    assert marks == [message_ids[3], message_ids[7], message_ids[10], message_ids[11]]
    assert not harness.store.index_more()
    harness.reopen()
    assert not harness.store.index_more(), "a restart indexes nothing twice"
    harness.rows("INSERT INTO search (search, rank) VALUES ('integrity-check', 0)")


def test_a_slice_that_could_not_be_committed_is_indexed_later(harness: StoreHarness, archive: MessageArchive) -> None:
    harness.send(*[draft(content=f"word {n} " + "abc def " * 500) for n in range(20)])
    fill_up(harness)
    with pytest.raises(StoreFull):
        harness.store.index_more()
    assert harness.rows("SELECT value FROM meta WHERE name = 'indexed_id'") == [(0,)]
    make_room(harness)
    index_all(harness)
    assert len(contents(archive, "word")) == 20
    harness.rows("INSERT INTO search (search, rank) VALUES ('integrity-check', 0)")


@pytest.mark.parametrize("is_indexed", [True, False])
def test_deleted_messages_are_not_found_any_more(
    harness: StoreHarness, archive: MessageArchive, is_indexed: bool
) -> None:
    swept, cleared, kept = harness.send(draft("a", "word one"), draft("b", "word two"), draft("a", "word three"))
    if is_indexed:
        index_all(harness)
    harness.commit(harness.reading("a", swept))
    assert contents(archive, "word") == ["word three", "word two", "word one"], "read mail is found until it is deleted"
    harness.store.delete_ended(NOW_MS + 6, 10, NOW_MS)
    harness.commit(harness.clearing("b", cleared))
    index_all(harness)
    assert contents(archive, "word") == ["word three"]
    assert harness.rows("SELECT rowid FROM search WHERE search MATCH 'word'") == [(kept,)]
    harness.rows("INSERT INTO search (search, rank) VALUES ('integrity-check', 0)")


@pytest.mark.parametrize("is_indexed", [True, False])
def test_one_mailbox_is_searched_or_all_and_names_are_no_words(
    harness: StoreHarness, archive: MessageArchive, is_indexed: bool
) -> None:
    names = ["a", "A", "a@b", "a-b", "a.b"]
    harness.send(*[draft(name, f"word for {number}") for number, name in enumerate(names)])
    if is_indexed:
        index_all(harness)
    for number, name in enumerate(names):
        assert contents(archive, "word", name) == [f"word for {number}"]
    assert len(contents(archive, "word")) == len(names)
    assert contents(archive, "word", "nobody") == []
    assert [contents(archive, query) for query in ("a", "x61", "x61*")] == [[], [], []]


def test_pages_of_found_messages_cross_the_mark_of_the_index(harness: StoreHarness, archive: MessageArchive) -> None:
    message_ids = harness.send(*[draft(content=f"word {n}" if n % 2 else "else") for n in range(8)])
    index_all(harness)
    message_ids += harness.send(*[draft(content=f"word {n}" if n % 2 else "else") for n in range(8)])
    wanted = message_ids[::-1][::2]
    for limit in (1, 3, 8, 9):
        pages: list[int] = []
        while page := archive.before(None, pages[-1] if pages else 1 << 62, limit, query="word"):
            assert len(page) <= limit
            pages += [message.id for message in page]
        assert pages == wanted


def test_what_is_found_may_be_limited_to_unread_mail_or_a_thread(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    message_ids = harness.send(*[draft(content="word") for _ in range(9)])
    index_all(harness)
    harness.commit(harness.reading("abc", *message_ids[1:]))
    assert [message.id for message in archive.before(None, 1 << 62, 3, query="word", unread_only=True)] == message_ids[
        :1
    ]
    assert list(archive.before(None, 1 << 62, 3, query="word", thread_id="t")) == []


# -- against a plain model --------------------------------------------------------------------------------------------

words = st.text("abÄé1", min_size=1, max_size=3)
texts = st.lists(words, max_size=5).flatmap(
    lambda some: st.sampled_from([" ", ", ", "-", "\n", "\0"]).map(lambda gap: gap.join(some))
)
queries = st.lists(
    st.one_of(
        words,
        words.map(lambda word: word + "*"),
        st.lists(words, min_size=1, max_size=3).map(" ".join).map('"{}"'.format),
    ),
    min_size=1,
    max_size=3,
)


def tokens(text: str) -> list[str]:
    plain = "".join(
        character for character in unicodedata.normalize("NFKD", text) if not unicodedata.combining(character)
    )
    return re.findall("[a-z0-9]+", plain.lower())


def is_match(query: list[str], text: str) -> bool:
    there = tokens(text)
    for term in query:
        wanted = tokens(term)
        is_beginning = term.endswith("*")
        places = range(len(there) - len(wanted) + 1)

        def stands_at(place: int, wanted: list[str] = wanted, is_beginning: bool = is_beginning) -> bool:
            found = there[place : place + len(wanted)]
            if is_beginning:
                return found[:-1] == wanted[:-1] and found[-1].startswith(wanted[-1])
            return found == wanted

        if not any(map(stands_at, places)):
            return False
    return True


@given(
    st.lists(st.tuples(st.sampled_from("ab"), texts), max_size=12),
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), queries), min_size=1, max_size=6),
    st.integers(0, 12),
    st.sets(st.integers(0, 11)),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_indexed_and_unindexed_messages_match_like_a_plain_search(
    mail: list[tuple[str, str]], asked: list[tuple[str | None, list[str]]], indexed: int, deleted: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        harness = StoreHarness(Path(place))
        harness.rows("PRAGMA synchronous = OFF")
        message_ids = harness.send(*[draft(name, text) for name, text in mail[:indexed]])
        index_all(harness)
        message_ids += harness.send(*[draft(name, text) for name, text in mail[indexed:]])
        gone = [message_ids[index] for index in deleted if index < len(message_ids)]
        harness.commit(*[harness.reading(name, *gone) for name in "ab"])
        harness.store.delete_ended(NOW_MS + 6, 100, NOW_MS)
        there = [(n, name, text) for n, (name, text) in zip(message_ids, mail, strict=True) if n not in gone]
        reader = open_archive(harness.state_dir)
        for is_all_indexed in (False, True):
            for mailbox, query in asked:
                wanted = [n for n, name, text in there if mailbox in (None, name) and is_match(query, text)]
                found = matching_ids(reader, mailbox, match_expression(" ".join(query)), 1 << 62, Deadline())
                assert list(found) == wanted[::-1], (is_all_indexed, mailbox, query)
            index_all(harness)
        reader.close()
        harness.store.close()


# -- Chinese and Japanese ---------------------------------------------------------------------------------------------

UNSPACED = {
    "登录": ["修复登录错误", "修复登录 error"],
    "修复登录": ["修复登录错误", "修复登录 error"],
    "录登": [],
    "录错": ["修复登录错误"],
    "error": ["修复登录 error"],
    "ログ": ["ログインできません"],
    "ログ*": ["ログインできません"],
    "できま": ["ログインできません"],
    "v2登": ["v2登记"],
    "𠀀": ["rare 𠀀字"],
    "한국어는": ["한국어는"],
    "한국어": [],
}


@pytest.mark.parametrize("is_indexed", [True, False])
def test_words_within_chinese_and_japanese_sentences_are_found(
    harness: StoreHarness, archive: MessageArchive, is_indexed: bool
) -> None:
    texts = ["修复登录错误", "修复登录 error", "ログインできません", "v2登记", "rare 𠀀字", "한국어는"]
    message_ids = harness.send(*[draft(content=text) for text in texts])
    if is_indexed:
        index_all(harness)
    assert {query: contents(archive, query)[::-1] for query in UNSPACED} == UNSPACED
    harness.commit(harness.clearing("abc", message_ids[0]))
    assert contents(archive, "错误") == []
    harness.rows("INSERT INTO search (search, rank) VALUES ('integrity-check', 0)")


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_unindexed_messages_are_searched_up_to_a_bound_of_characters(
    harness: StoreHarness, archive: MessageArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_search, "UNINDEXED_CHARS", 1000)
    harness.send(*[draft(content=f"word{n} " + "x" * 400) for n in range(6)])
    assert [bool(contents(archive, f"word{n}")) for n in range(6)] == [False] * 3 + [True] * 3
    index_all(harness)
    assert all(contents(archive, f"word{n}") for n in range(6)), "the others are found once they are indexed"


@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_search_ends_when_its_caller_has_left(
    harness: StoreHarness, archive: MessageArchive, is_indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_search, "SEARCH_SEC", BOUND_SEC)
    harness.send(*[draft(content="word") for _ in range(2500)])
    if is_indexed:
        index_all(harness)
    harness.commit(harness.reading("abc", *harness.table))
    with pytest.raises(MailroomError) as caught:
        archive.before(None, 1 << 62, 1000, query="word", unread_only=True, is_cancelled=lambda: True)
    assert caught.value.reason == Reason.QUERY_TOO_LONG
    assert len(archive.before(None, 1 << 62, 1000, query="word")) == 1000, "the connection is good for the next search"


def test_a_search_that_runs_out_of_time_returns_what_it_has(harness: StoreHarness, archive: MessageArchive) -> None:
    message_ids = harness.send(*[draft(content="word") for _ in range(2500)])
    index_all(harness)
    harness.rows("UPDATE messages SET thread_id = 't' WHERE id = ?", message_ids[-1])
    calls: list[int] = []

    def leave_later() -> bool:
        calls.append(1)
        return len(calls) > 2

    page = archive.before(None, 1 << 62, 1000, query="word", thread_id="t", is_cancelled=leave_later)
    assert [message.id for message in page] == [message_ids[-1]]
    assert page.is_cut


def test_a_deadline_ends_by_time_too() -> None:
    assert Deadline(seconds=0).is_over()
    assert not Deadline(seconds=60).is_over()
