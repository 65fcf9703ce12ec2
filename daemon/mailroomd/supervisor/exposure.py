"""exposure — what has to be so before the daemon opens a TCP address.

Owns the checks of the token file and of the TLS files, with sentences that say what to do; they come before the first
worker starts. Whether TLS is needed is `cli.configuration`'s to know, as it follows from the settings alone.
"""

__all__ = ["check_exposure"]

import stat
from pathlib import Path

from mailroomd.auth.token_file import TokenFile, TokensUnreadable
from mailroomd.model.clock import now_ms
from mailroomd.model.quantities import is_tcp
from mailroomd.model.settings import Settings
from mailroomd.supervisor.exits import ExitCode, Refusal


def check_exposure(settings: Settings) -> None:
    """Passes settings whose TCP addresses, if there are any, may be opened.

    Raises:
        Refusal: CANNOT_START; the token file or a TLS file is not what it has to be.
    """
    try:
        tokens = TokenFile(settings.state_dir).read()
    except TokensUnreadable as error:
        raise _refusal(str(error)) from None
    tcp = next(filter(is_tcp, settings.listen), None)
    if tcp is None:
        return
    usable = [token for token in tokens if token.has_holder and not token.has_expired(now_ms())]
    if settings.auth == "required" and not usable:
        raise _refusal(
            f"{tcp} is TCP, and there is no token to use it with: make one with "
            f"`mailroom token create --state-dir {settings.state_dir} --agent NAME` (or --admin)"
        )
    if settings.tls_cert is not None and settings.tls_key is not None:
        _check_pair(settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca is not None:
        _check_authority(settings.tls_client_ca)


def _check_pair(certificate: Path, key: Path) -> None:
    import ssl  # 10 ms that a start without TLS need not spend

    try:
        if stat.S_IMODE(key.stat().st_mode) & stat.S_IROTH:
            raise _refusal(f"everybody can read the private key {key}: chmod 600 it, and make a new one if in doubt")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise _refusal(f"{certificate} and {key} are no certificate (PEM) with its key: {_said(error)}") from None
    except OSError as error:
        raise _refusal(f"{certificate} or {key} cannot be read: {error.strerror}") from None


def _check_authority(file: Path) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except ssl.SSLError as error:
        raise _refusal(f"{file} is no certificate of an authority (PEM): {_said(error)}") from None
    except OSError as error:
        raise _refusal(f"{file} cannot be read: {error.strerror}") from None


def _no_password() -> str:
    """Answers for a key that is encrypted, which nobody is there to type the password for."""
    return "-"


def _said(error: OSError) -> str:
    return (error.strerror or str(error) or "it is in no known form").lower()


def _refusal(sentence: str) -> Refusal:
    return Refusal(sentence, ExitCode.CANNOT_START)
