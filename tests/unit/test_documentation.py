"""The documentation names files, tests and sections that exist."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from mailroomd import __version__

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "clients/*/*.md", "tests/*.md", "benchmarks/*.md")
    for page in PROJECT.glob(pattern)
)
NAMES = [str(page.relative_to(PROJECT)) for page in PAGES]
BASES = [
    PROJECT / path
    for path in (
        "",
        "benchmarks",
        "clients/go",
        "clients/python",
        "clients/python/mailroom",
        "clients/python/mailroom_apps",
        "clients/conformance",
        "clients/typescript",
        "daemon/mailroomd",
        "tests",
    )
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:\w[\w.-]*/)+[\w.-]+\.(?:py|go|md|sh|toml|proto))(?:::(\w+))?`")


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file_and_a_section(name: str) -> None:
    page = PROJECT / name
    broken = [link for link in links_of(page) if not leads_somewhere(page, link)]
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_every_path_and_test_in_backquotes_exists(name: str) -> None:
    unknown = [
        f"{path}::{test}" if test else path
        for path, test in PATH.findall((PROJECT / name).read_text())
        if not any(defines(base / path, test) for base in BASES)
    ]
    assert unknown == []


@pytest.mark.parametrize("index", ["docs/README.md", "docs/decisions/README.md"])
def test_an_index_lists_every_page_beside_it(index: str) -> None:
    page = PROJECT / index
    listed = {(page.parent / link.partition("#")[0]).resolve() for link in links_of(page)}
    assert {path for path in page.parent.glob("*.md") if path != page} <= listed


def test_every_sentence_that_operations_explains_is_in_the_code() -> None:
    code = "".join(text_of(file) for base in ("daemon", "clients") for file in sorted((PROJECT / base).rglob("*.py")))
    section = text_of(PROJECT / "docs/operations.md").partition("\n## What you may see\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")][1:]
    parts = [part.strip(" :,") for row in rows for quoted in re.findall("`([^`]+)`", row) for part in quoted.split("…")]
    assert len(rows) >= 15
    assert [part for part in parts if part not in code and not part.startswith("mailroom ")] == []


def links_of(page: Path) -> Iterator[str]:
    """Yields the relative links of a page."""
    for link in LINK.findall(page.read_text()):
        if not re.match(r"[a-z]+:", link):
            yield link


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, section = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not section or section in sections_of(target))


@cache
def sections_of(page: Path) -> frozenset[str]:
    """Returns the anchors of a page, as GitHub makes them from its headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def defines(path: Path, test: str) -> bool:
    return path.is_file() and (not test or f"def {test}(" in text_of(path))


@cache
def text_of(path: Path) -> str:
    return path.read_text()


def test_the_version_is_the_same_everywhere_and_has_release_notes() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == declared == __version__
    assert (PROJECT / "docs" / "releases" / f"{declared}.md").is_file()
