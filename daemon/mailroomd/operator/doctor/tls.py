"""TLS — can the daemon use the certificate and the key that it is told to use, and how long are they valid?

The files are read as the daemon reads them. The dates come from a handshake with ourselves in memory, in which the
certificate is its own authority.
"""

__all__ = ["check"]

import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mailroomd.model.settings import Settings
from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.supervisor.exits import Refusal
from mailroomd.supervisor.tls_files import TlsFiles

SOON_DAYS = 14  # certificates of 90 days are usually renewed a month before their end
_DAY_SEC = 86_400
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: the date of an expired certificate is wanted, too
_RENEW = "renew it, then restart `mailroomd`: the files are read at the start"


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the TLS files, if the configuration names any."""
    settings = installation.settings
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        TlsFiles(settings).read()
    except Refusal as refusal:
        advice = "correct --tls-cert, --tls-key or --tls-client-ca; until then `mailroomd` does not start"
        yield problem("TLS", refusal.sentence, advice)
        return
    with suppress(OSError, ValueError):  # a certificate that cannot be verified here may still be right for its clients
        yield _check_end("certificate", settings.tls_cert, _end_sec(settings.tls_cert, settings.tls_key))
        for end_sec in _authority_ends_sec(settings):
            assert settings.tls_client_ca is not None
            yield _check_end("clients' authority", settings.tls_client_ca, end_sec)


def _check_end(name: str, path: Path, end_sec: float) -> Finding:
    left_days = (end_sec - time.time()) / _DAY_SEC
    date = time.strftime("%Y-%m-%d", time.gmtime(end_sec))
    if left_days <= 0:
        return problem("TLS", f"the {name} {path} expired on {date}, so clients refuse it", _RENEW)
    if left_days < SOON_DAYS:
        return warning("TLS", f"the {name} {path} expires on {date}, in {left_days:.0f} days", _RENEW)
    return ok("TLS", f"the {name} {path} is valid until {date}")


def _end_sec(certificate: Path, key: Path) -> float:
    """Returns when a certificate expires, in seconds since 1970.

    Raises:
        OSError, ValueError: it cannot be verified.
    """
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(certificate, key)
    client.load_verify_locations(certificate)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):  # more flights than a handshake has
        for side in (ours, theirs):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return ssl.cert_time_to_seconds(str((ours.getpeercert() or {})["notAfter"]))


def _authority_ends_sec(settings: Settings) -> list[float]:
    if settings.tls_client_ca is None:
        return []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(settings.tls_client_ca)
    return [ssl.cert_time_to_seconds(str(authority["notAfter"])) for authority in context.get_ca_certs()]
