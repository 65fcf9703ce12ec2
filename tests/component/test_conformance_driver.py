"""The conformance suite's driver: its command line, its table, and the reasons that it covers."""

import json
import re
import sys
from pathlib import Path

import pytest
from conformance import __main__ as command
from conformance import scenarios
from conformance.adapter import Adapter, AdapterFailed, Unsupported
from conformance.clients import CLIENTS, Client, Missing
from conformance.first_clients import FILES, PAGE, commands_of, first_client
from conformance.runner import FIRST_CLIENT, Column, Outcome, Result
from conformance.scenario import SCENARIOS
from conformance.scenarios.errors import NOT_PROVOKED, REFUSALS
from conformance.table import as_json, columns_of, page_of, summary_of, unmet_reasons
from mailroom.v1 import mailroom_pb2 as pb

HELLO = {"library": "lib", "version": "1.2", "runtime": "Tongue 3", "kind": "library", "date": "2026-11-29"}
SOURCES = "".join(path.read_text() for path in Path(scenarios.__path__[0]).glob("*.py"))


def adapter_of(tmp_path: Path, program: str) -> Adapter:
    """Returns an adapter that greets and then runs this Python."""
    greeting = f"import json, sys, time\nprint('{json.dumps({'hello': HELLO})}', flush=True)\n"
    return Adapter([sys.executable, "-c", greeting + program], {}, tmp_path / "log")


def column(**outcomes: Result) -> Column:
    return Column(CLIENTS[0], "", HELLO, dict(outcomes))


def missing() -> list[str]:
    raise Missing("there is no tongue: install it")


def test_every_published_reason_is_provoked_or_excused() -> None:
    published = {name.removeprefix("ERROR_REASON_") for name, number in pb.ErrorReason.items() if number}
    rest = SOURCES.partition("REFUSALS: list")[2] + SOURCES.partition("NOT_PROVOKED = {")[0]
    provoked = {reason for _, _, reason, _ in REFUSALS} | set(re.findall(r'"([A-Z_]+)"', rest))
    provoked -= {"INTERNAL"}  # there it is a gRPC code
    assert published - provoked == NOT_PROVOKED.keys()
    assert not {reason for _, _, reason, _ in REFUSALS} & NOT_PROVOKED.keys()


def test_titles_are_unique_and_no_scenario_names_a_language() -> None:
    titles = [one.title for one in SCENARIOS]
    assert len(titles) == len(set(titles))
    assert not re.search(
        r"\b(grpcio|grpc-js|grpc-go|golang|node|java|rust|tonic|ruby|c\+\+|typescript|python)\b", SOURCES, re.I
    )


@pytest.mark.parametrize("language", FILES)
def test_the_page_has_a_first_client_with_the_given_address(tmp_path: Path, language: str) -> None:
    file = first_client(language, tmp_path / FILES[language], "unix:///elsewhere")
    assert "unix:///elsewhere" in file.read_text()
    assert (
        file.read_text().replace("unix:///elsewhere", "unix:///run/user/1000/mailroom/mailroom.sock")
        in PAGE.read_text()
    )


@pytest.mark.parametrize("language", FILES)
def test_the_page_has_commands_for_each_first_client(language: str) -> None:
    commands = commands_of(language)
    assert f"```sh\n{commands}```" in PAGE.read_text()
    assert [one for one in FILES.values() if one in commands] in ([FILES[language]], []), "its own program only"


def test_every_program_of_the_page_is_a_first_client() -> None:
    kinds = set(re.findall(r"^```(\w+)$", PAGE.read_text(), re.MULTILINE))
    assert kinds == {*FILES, "sh", "json"}


def test_a_language_without_a_first_client_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no program in cobol"):
        first_client("cobol", tmp_path / "first", "unix:///x")


# -- adapters that break the rules -------------------------------------------------------------------------------------


def test_an_answer_that_does_not_come_is_a_failure(tmp_path: Path) -> None:
    adapter = adapter_of(tmp_path, "time.sleep(60)")
    number = adapter.begin("unary")
    with pytest.raises(AdapterFailed, match=r"no answer within 0\.2 s"):
        adapter.answer(number, 0.2)
    adapter.close()


def test_an_adapter_that_ends_shows_its_last_words(tmp_path: Path) -> None:
    adapter = adapter_of(tmp_path, "sys.stdin.readline(); sys.exit('out of ideas')")
    number = adapter.begin("unary")
    with pytest.raises(AdapterFailed, match=r"exit code 1.*out of ideas"):
        adapter.answer(number, 10)
    with pytest.raises(AdapterFailed, match="ended"):
        adapter.answer(number, 10)
    adapter.close()


def test_an_unsupported_operation_does_not_apply(tmp_path: Path) -> None:
    adapter = adapter_of(
        tmp_path, "n = json.loads(input())['id']; print(json.dumps({'id': n, 'unsupported': 'no such thing'}))"
    )
    with pytest.raises(Unsupported, match="no such thing"):
        adapter.answer(adapter.begin("unary"), 10)
    adapter.close()


def test_what_is_no_answer_is_kept_in_the_log(tmp_path: Path) -> None:
    adapter = adapter_of(
        tmp_path, "n = json.loads(input())['id']; print('hello?'); print(json.dumps({'id': n, 'ok': {}}))"
    )
    assert adapter.answer(adapter.begin("unary"), 10)["ok"] == {}
    assert "not an answer: hello?" in (tmp_path / "log").read_text()
    adapter.close()


# -- what is said at the end -------------------------------------------------------------------------------------------


def test_the_page_marks_what_failed_and_says_why_below() -> None:
    results = {
        "one": Result(Outcome.PASSED, 1.0),
        "two": Result(Outcome.FAILED, 2.0, "streams.py:7: an event\ntoo many"),
    }
    shown = column(**results, three=Result(Outcome.NOT_APPLICABLE))
    page = page_of([shown], ["one", "two", "three"])
    assert "| one | ✓ |" in page
    assert "| two | ✗ 1 |" in page
    assert "| three | – |" in page
    assert f"1. {CLIENTS[0].title}, two: streams.py:7: an event too many" in page
    assert "lib 1.2, Tongue 3" in page
    assert "| *date* | 2026-11-29 |" in page
    stored = as_json([shown])
    assert page_of(columns_of([stored]), ["one", "two", "three"]) == page, "the same from stored results"
    again = as_json([column(two=Result(Outcome.PASSED, 2.0))])
    assert "| two | ✓ |" in page_of(columns_of([stored, again]), ["one", "two", "three"]), "the later result counts"


def test_the_page_says_which_reasons_were_not_met() -> None:
    shown = column()
    shown.reasons = {"TTL_INVALID", "WAIT_INVALID"}
    unmet = unmet_reasons(columns_of([as_json([shown])]))
    assert "TTL_INVALID" not in unmet
    assert "TOO_MANY" in unmet
    assert not unmet & NOT_PROVOKED.keys()
    assert "These were not met: `ADMIN_ONLY`, " in page_of([shown], [])
    shown.reasons |= unmet
    assert "not met" not in page_of([shown], [])


def test_json_and_summary_have_every_result() -> None:
    results = {"one": Result(Outcome.PASSED, 1.0), "two": Result(Outcome.FAILED, 2.0, "why")}
    found = as_json([column(**results)])["clients"][0]
    assert found["library"] == "lib"
    assert found["results"]["two"] == {"outcome": "failed", "seconds": 2.0, "detail": "why"}
    assert summary_of(column(**results)) == "grpcio (lib 1.2, Tongue 3): 1 passed, 1 failed in 3 s"


@pytest.fixture
def only_a_missing_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CLIENTS", (Client("tongue", "Tongue", missing),))


@pytest.mark.usefixtures("only_a_missing_client")
def test_a_missing_toolchain_is_said_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    before = command.PAGE.read_bytes()
    assert command.main([]) == 0
    assert "tongue: skipped: there is no tongue: install it" in capsys.readouterr().out
    assert command.PAGE.read_bytes() == before, "a run that skips a client does not write the page"


def test_an_adapter_that_cannot_be_built_fails_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> list[str]:
        raise RuntimeError("tonguec ended with 1: unexpected consonant")

    monkeypatch.setattr(command, "CLIENTS", (Client("tongue", "Tongue", build),))
    assert command.main([]) == 1
    assert "FAILED  tongue: the adapter is built\n        tonguec ended with 1" in capsys.readouterr().out


@pytest.mark.usefixtures("only_a_missing_client")
def test_a_required_client_that_is_missing_fails_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command.main(["--require", "tongue"]) == 1
    assert "required, but not run: tongue" in capsys.readouterr().out
    monkeypatch.setenv("REQUIRE", "tongue")
    assert command.main([]) == 1


def test_an_unknown_client_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["cobol"])
    assert "there is no client cobol; the clients are grpcio," in capsys.readouterr().err


def test_the_list_has_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [one.title for one in SCENARIOS]
    assert FIRST_CLIENT not in [one.title for one in SCENARIOS]
