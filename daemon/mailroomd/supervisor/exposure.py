"""check_exposure — what must be true before the daemon opens a TCP address.

Owns the check of the token file, with sentences that say what to do; `supervisor.tls_files` checks the TLS files. Both
run before the first worker starts. Whether TLS is required follows from the settings alone and is checked by
`cli.configuration`.
"""

__all__ = ["check_exposure"]

from mailroomd.auth.token_file import TokenFile, TokensUnreadable
from mailroomd.model.clock import now_ms
from mailroomd.model.quantities import is_tcp
from mailroomd.model.settings import Settings
from mailroomd.supervisor.exits import ExitCode, Refusal
from mailroomd.supervisor.tls_files import TlsFiles


def check_exposure(settings: Settings) -> None:
    """Returns if the TCP addresses in the settings, if any, may be opened.

    Raises:
        Refusal: CANNOT_START; the token file or a TLS file is unusable.
    """
    try:
        tokens = TokenFile(settings.state_dir).read()
    except TokensUnreadable as error:
        raise Refusal(str(error), ExitCode.CANNOT_START) from None
    tcp = next(filter(is_tcp, settings.listen), None)
    if tcp is None:
        return
    usable = [token for token in tokens if token.has_holder and not token.has_expired(now_ms())]
    if settings.auth == "required" and not usable:
        sentence = (
            f"{tcp} is a TCP address, but there is no valid token to use it with. Create one with "
            f"`mailroom token create --state-dir {settings.state_dir} --agent NAME` (or --admin)."
        )
        raise Refusal(sentence, ExitCode.CANNOT_START)
    TlsFiles(settings).read()
