"""The locks have every direct dependency, in versions that pyproject.toml allows, and agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = ("codex", "dashboard", "hub", "mcp", "tracing")  # those of the extra "all"


def pinned(lock: str) -> dict[str, str]:
    """Returns the packages of a lock with their versions and markers."""
    lines = re.findall(r"^([a-z0-9-]+)==(.*?) *\\$", (REPOSITORY / lock).read_text(), re.MULTILINE)
    return dict(lines)


def extras_of(*names: str) -> list[str]:
    return [requirement for name in names for requirement in PROJECT["optional-dependencies"][name]]


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", PROJECT["dependencies"]),
        ("requirements-all.lock", PROJECT["dependencies"] + extras_of(*EXTRAS)),
    ],
)
def test_a_lock_has_what_pyproject_requires_in_a_version_that_it_allows(lock: str, requirements: list[str]) -> None:
    versions = pinned(lock)
    for requirement in map(Requirement, requirements):
        version = versions[requirement.name].partition(" ")[0]
        assert requirement.specifier.contains(version, prereleases=True), (lock, str(requirement), version)


def test_the_extra_all_has_every_extra_of_the_longer_lock() -> None:
    assert extras_of("all") == [f"mailroomd[{','.join(EXTRAS)}]"]


def test_the_longer_lock_has_the_versions_of_the_shorter_one() -> None:
    core, everything = pinned("requirements.lock"), pinned("requirements-all.lock")
    assert len(core) < len(everything)
    assert {name: version.partition(" ")[0] for name, version in core.items()} == {
        name: everything[name].partition(" ")[0] for name in core
    }
