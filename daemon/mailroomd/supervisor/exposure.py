"""check_exposure — what must be true before the daemon opens a TCP address.

Owns the checks of the token file and the TLS files, each with a sentence that says what to do. They run before the
first worker starts. Whether TLS is required follows from the settings alone and is checked by `cli.configuration`.
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
    """Returns if the TCP addresses in the settings, if any, may be opened.

    Raises:
        Refusal: CANNOT_START; the token file or a TLS file is unusable.
    """
    try:
        tokens = TokenFile(settings.state_dir).read()
    except TokensUnreadable as error:
        raise _refusal(str(error)) from None
    tcp = next(filter(is_tcp, settings.listen), None)
    if tcp is None:
        return
    if settings.auth == "required" and all(token.has_expired(now_ms()) for token in tokens):
        raise _refusal(
            f"{tcp} is a TCP address, but there is no valid token to use it with. Create one with "
            f"`mailroom token create --state-dir {settings.state_dir} --agent NAME` (or --admin)."
        )
    if settings.tls_cert is not None and settings.tls_key is not None:
        _check_pair(settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca is not None:
        _check_authority(settings.tls_client_ca)


def _check_pair(certificate: Path, key: Path) -> None:
    import ssl  # 10 ms that a start without TLS need not spend

    try:
        if stat.S_IMODE(key.stat().st_mode) & stat.S_IROTH:
            raise _refusal(
                f"the private key {key} is readable by every user. Run `chmod 600 {key}`; "
                "replace the key if others may have read it."
            )
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        sentence = f"{certificate} and {key} are not a certificate (PEM) and its private key: {_reason(error)}"
        raise _refusal(sentence) from None
    except OSError as error:
        raise _refusal(f"cannot read {certificate} or {key}: {error.strerror}") from None


def _check_authority(file: Path) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except ssl.SSLError as error:
        raise _refusal(f"{file} is not a certificate of an authority (PEM): {_reason(error)}") from None
    except OSError as error:
        raise _refusal(f"cannot read {file}: {error.strerror}") from None


def _no_password() -> str:
    """Answers for an encrypted key: OpenSSL would ask on the terminal otherwise."""
    return "-"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or "unknown format").lower()


def _refusal(sentence: str) -> Refusal:
    return Refusal(sentence, ExitCode.CANNOT_START)
