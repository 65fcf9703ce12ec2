"""Configuration — is the daemon's configuration valid? An invalid one stops the next start of the daemon."""

__all__ = ["check"]

from collections.abc import Iterator

from mailroomd.operator.doctor.finding import Finding, problem
from mailroomd.operator.installation import Installation


def check(installation: Installation) -> Iterator[Finding]:
    """Reports an invalid configuration; a valid one needs no line of its own."""
    if installation.configuration_error:
        advice = "correct it (`mailroom config check`); until then `mailroomd` does not start"
        yield problem("configuration", installation.configuration_error, advice)
