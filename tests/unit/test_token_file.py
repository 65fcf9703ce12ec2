"""Tokens are stored as hashes in a file that only its owner can read, and each change is noticed at once."""

import hashlib
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mailroomd.auth.authentication import Authenticator
from mailroomd.auth.caller import Role
from mailroomd.auth.token_file import TokenCache, TokenFile, TokensUnreadable
from mailroomd.auth.tokens import new_token, parse_token_id
from mailroomd.model.errors import MailroomError, Reason

NOW_MS = 1_800_000_000_000


def test_a_token_is_a_public_id_and_256_random_bits() -> None:
    text, token = new_token("bob", NOW_MS)
    prefix, token_id, secret = text.split("_", 2)
    assert (prefix, token_id, len(secret)) == ("mr", token.id, 43)
    assert parse_token_id(text) == token.id
    assert len({new_token("bob", NOW_MS)[0] for _ in range(100)}) == 100


@pytest.mark.parametrize("text", ["", "mr_", "mr_12345678_short", "mr_1234567G_" + "a" * 43, "x" * 1000, "mr\n"])
def test_a_text_that_is_not_a_token_has_no_id(text: str) -> None:
    assert parse_token_id(text) == ""


def test_only_the_whole_text_matches() -> None:
    text, token = new_token("bob", NOW_MS)
    other, _ = new_token("bob", NOW_MS)
    assert token.matches(text)
    assert not any(map(token.matches, (text[:-1], text + "a", other, "", text.replace("mr", "MR"))))


def test_a_token_expires_at_its_time() -> None:
    _, token = new_token("bob", NOW_MS, ttl_ms=1000)
    assert [token.has_expired(NOW_MS + after) for after in (0, 999, 1000)] == [False, False, True]
    _, unlimited = new_token("bob", NOW_MS)
    assert not unlimited.has_expired(1 << 62)


def test_an_invalid_agent_name_gets_no_token(tmp_path: Path) -> None:
    for name in ("../bob", "a@b@c", ".hidden", "x" * 129):
        with pytest.raises(ValueError, match="is not a valid name"):
            TokenFile(tmp_path).create(name, NOW_MS)
    with pytest.raises(ValueError, match="the agent's name is missing"):
        TokenFile(tmp_path).create("", NOW_MS)
    assert TokenFile(tmp_path).read() == []


def test_the_file_holds_a_hash_and_never_the_token(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "state")
    text, token = file.create("bob", NOW_MS)
    content = file.path.read_text()
    assert text not in content
    assert text.split("_", 2)[2] not in content
    assert json.loads(content)["tokens"][0]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert text not in repr(token)


def test_file_and_directory_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        file = TokenFile(tmp_path / "state")
        file.create("bob", NOW_MS)
        file.create(None, NOW_MS)
    finally:
        os.umask(before)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in file.path.parent.iterdir()] == ["tokens.json"]


def test_tokens_are_listed_in_order_and_revoked_by_id(tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    created = [file.create(name, NOW_MS)[1] for name in ("bob", None, "alice")]
    assert file.read() == created
    assert file.revoke({created[0].id, "00000000"}) == [created[0]]
    assert file.read() == created[1:]


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    def create_ten() -> None:
        for _ in range(10):
            TokenFile(tmp_path).create("bob", NOW_MS)

    threads = [threading.Thread(target=create_ten) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({token.id for token in TokenFile(tmp_path).read()}) == 40


@pytest.mark.parametrize("content", ["", "[]", '{"version": 1}', '{"version": 2, "tokens": []}', "\x00" * 10])
def test_a_malformed_file_is_neither_trusted_nor_overwritten(tmp_path: Path, content: str) -> None:
    file = TokenFile(tmp_path)
    file.path.write_text(content)
    file.path.chmod(0o600)
    for use in (file.read, lambda: file.create("bob", NOW_MS), lambda: TokenCache(file).get("00000000")):
        with pytest.raises(TokensUnreadable, match=r"tokens\.json (is damaged|has version 2)"):
            use()
    assert file.path.read_text() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_is_open_to_others_is_not_trusted(tmp_path: Path, mode: int) -> None:
    file = TokenFile(tmp_path)
    file.create("bob", NOW_MS)
    file.path.chmod(mode)
    with pytest.raises(TokensUnreadable, match="open to others: chmod 600 it"):
        file.read()


def test_a_record_grants_something_only_if_it_names_exactly_one_holder(tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    text, _ = file.create(None, NOW_MS)
    record = json.loads(file.path.read_text())["tokens"][0]
    assert record["admin"] is True
    holders = {"admin": {"admin": True}, "agent": {"agent": "bob"}, "earlier": {}, "empty": {"agent": ""}}
    holders |= {"both": {"agent": "bob", "admin": True}, "false": {"admin": False}}
    roles = {}
    for name, holder in holders.items():
        changed = {key: value for key, value in record.items() if key != "admin"} | holder
        file.path.write_text(json.dumps({"version": 1, "tokens": [changed]}))
        try:
            caller = Authenticator(TokenCache(file), is_required=True).authenticate(presenting(text))
            roles[name] = caller.role
        except MailroomError as error:
            roles[name] = error.reason
    refused = dict.fromkeys(("earlier", "empty", "both", "false"), Reason.TOKEN_INVALID)
    assert roles == {"admin": Role.ADMIN, "agent": Role.AGENT} | refused


def presenting(text: str) -> Any:
    """Returns the context of a call that presents a token."""
    return SimpleNamespace(invocation_metadata=lambda: [("authorization", f"Bearer {text}")])


def test_root_accepts_another_users_file_only_to_edit_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = 1234 if os.geteuid() == 0 else os.geteuid()  # only root gives files away
    file = TokenFile(tmp_path)
    _, token = file.create("bob", NOW_MS)
    for path in (tmp_path, file.path):
        os.chown(path, owner, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for use in (file.read, lambda: TokenCache(file).get(token.id)):  # as a daemon of root does
        with pytest.raises(TokensUnreadable, match=rf"belongs to another user \(uid {owner}\)"):
            use()
    assert file.read_as_operator() == [token]
    assert file.revoke({token.id}) == [token]


def test_a_file_written_by_root_belongs_to_the_owner_of_its_directory(tmp_path: Path) -> None:
    owner = (1234, 1235) if os.geteuid() == 0 else (os.geteuid(), os.getegid())  # only root gives files away
    os.chown(tmp_path, *owner)
    file = TokenFile(tmp_path)
    file.create("bob", NOW_MS)
    assert (file.path.stat().st_uid, file.path.stat().st_gid) == owner


def test_the_cache_notices_each_change_at_once(tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    cache = TokenCache(file)
    assert cache.get("00000000") is None
    _, bob = file.create("bob", NOW_MS)
    assert cache.get(bob.id) == bob
    _, alice = file.create("alice", NOW_MS)
    assert cache.get(alice.id) == alice
    file.revoke({bob.id})
    assert cache.get(bob.id) is None
    file.path.unlink()
    assert cache.get(alice.id) is None


def test_the_cache_reads_the_file_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = TokenFile(tmp_path)
    _, bob = file.create("bob", NOW_MS)
    cache, reads = TokenCache(file), list[int]()
    read = file.read
    monkeypatch.setattr(file, "read", lambda: reads.append(1) or read())
    assert {cache.get(bob.id) for _ in range(100)} == {bob}
    assert len(reads) == 1
