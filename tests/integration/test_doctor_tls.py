"""The doctor reads certificates as the daemon does, and says when they end. Needs OpenSSL."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from mailroom.addresses import Address
from mailroomd.operator.doctor import Finding, Installation, Level, tls

pytestmark = pytest.mark.system

COMMAND = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def make_certificate(directory: Path, name: str, days: int) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    run(*COMMAND.split(), "-keyout", str(key), "-out", str(certificate))
    run("openssl", "x509", "-in", str(certificate), "-signkey", str(key), "-days", str(days), "-out", str(certificate))
    key.chmod(0o600)
    return certificate, key


def check(directory: Path, certificate: Path, key: Path, authority: Path | None = None) -> list[Finding]:
    installation = Installation(directory, directory, Address("127.0.0.1:50051"))
    settings = replace(installation.settings, tls_cert=certificate, tls_key=key, tls_client_ca=authority)
    return list(tls.check(replace(installation, settings=settings)))


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [(90, Level.OK, "is valid until"), (10, Level.WARNING, "expires on"), (-1, Level.PROBLEM, "expired on")],
)
def test_the_end_of_a_certificate_is_named_two_weeks_before(
    tmp_path: Path, days: int, level: Level, words: str
) -> None:
    certificate, key = make_certificate(tmp_path, "server", days)
    server, authority = check(tmp_path, certificate, key, certificate)
    for finding, name in ((server, "certificate"), (authority, "clients' authority")):
        assert finding.level is level
        assert f"the {name} {certificate}" in finding.summary
        assert words in finding.summary
        assert ("renew it" in finding.advice) is bool(level is not Level.OK)


def test_a_pair_that_the_daemon_refuses_is_a_problem(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "server", 90)
    _, other_key = make_certificate(tmp_path, "other", 90)
    [mismatched] = check(tmp_path, certificate, other_key)
    key.chmod(0o644)
    [public] = check(tmp_path, certificate, key)
    key.write_text("no key")
    key.chmod(0o600)
    [broken] = check(tmp_path, certificate, key)
    findings = [mismatched, public, broken, *check(tmp_path, tmp_path / "absent", key)]
    assert [finding.level for finding in findings] == [Level.PROBLEM] * 4
    assert "readable by every user" in public.summary
    assert "cannot read" in findings[-1].summary
    assert all("--tls-cert" in finding.advice for finding in findings)
