"""TlsFiles — reads and validates the certificate, its key and the clients' authority, and keeps the last good ones.

Every start of a gateway gets the files as they are then, so a renewed certificate takes effect at the next restart. A
renewal that failed does not: the gateway gets the previous files, and the log says what is wrong.
"""

__all__ = ["TlsFiles"]

import os
import stat
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mailroom.regular_file import read_regular

from mailroomd.model.settings import Settings
from mailroomd.observability.log import log
from mailroomd.supervisor.exits import ExitCode, Refusal
from mailroomd.worker.config import TlsCredentials

MAX_BYTES = 4 << 20  # of one file; a bundle of every public authority has a quarter of a megabyte


class TlsFiles:
    """The TLS files that the settings name, if they name any."""

    def __init__(self, settings: Settings) -> None:
        self._certificate, self._key = settings.tls_cert, settings.tls_key
        self._authority = settings.tls_client_ca
        self._last_good: TlsCredentials | None = None

    def read(self) -> TlsCredentials | None:
        """Returns the files' content, or their last good content; None without TLS.

        Raises:
            Refusal: CANNOT_START; the files are unusable and never were usable.
        """
        if self._certificate is None or self._key is None:
            return None
        try:
            self._last_good = _read_valid(self._certificate, self._key, self._authority)
        except Refusal as refusal:
            if self._last_good is None:
                raise
            log.error("TLS files unusable, keeping the previous certificate", error=refusal.sentence)
        return self._last_good


def _read_valid(certificate: Path, key: Path, authority: Path | None) -> TlsCredentials:
    credentials = TlsCredentials(_read(certificate), _read_private(key), b"" if authority is None else _read(authority))
    _check_pair(credentials, certificate, key)
    if authority is not None:
        _check_authority(credentials, authority)
    return credentials


def _read(file: Path) -> bytes:
    try:
        return read_regular(file, MAX_BYTES)[0]
    except OSError as error:
        raise _refusal(f"cannot read {file}: {error.strerror}") from None


def _read_private(key: Path) -> bytes:
    try:
        content, status = read_regular(key, MAX_BYTES)
    except OSError as error:
        raise _refusal(f"cannot read {key}: {error.strerror}") from None
    if status.st_mode & stat.S_IROTH:
        raise _refusal(
            f"the private key {key} is readable by every user. Run `chmod 600 {key}`; "
            "replace the key if others may have read it."
        )
    return content


def _check_pair(credentials: TlsCredentials, certificate: Path, key: Path) -> None:
    import ssl  # 10 ms that a start without TLS need not spend

    with ExitStack() as stack:
        chain = stack.enter_context(_as_file(credentials.certificate))
        private = stack.enter_context(_as_file(credentials.key))
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, private, password=_no_password)
        except (OSError, ValueError) as error:
            sentence = f"{certificate} and {key} are not a certificate (PEM) and its private key: {_reason(error)}"
            raise _refusal(sentence) from None


def _check_authority(credentials: TlsCredentials, authority: Path) -> None:
    import ssl

    try:
        with _as_file(credentials.client_authority) as file:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except (OSError, ValueError) as error:
        raise _refusal(f"{authority} is not a certificate of an authority (PEM): {_reason(error)}") from None


@contextmanager
def _as_file(content: bytes) -> Generator[str]:
    """Provides a path for exactly this content: OpenSSL reads files, and the ones on disk may change meanwhile."""
    descriptor = os.memfd_create("mailroom-tls")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _no_password() -> str:
    """Answers for an encrypted key: OpenSSL would ask on the terminal otherwise."""
    return "-"


def _reason(error: Exception) -> str:
    return ((error.strerror if isinstance(error, OSError) else "") or str(error) or "unknown format").lower()


def _refusal(sentence: str) -> Refusal:
    return Refusal(sentence, ExitCode.CANNOT_START)
