"""Tokens — can the daemon use the token file, and does each token in it name its holder? Is the MCP token private?"""

__all__ = ["check"]

import os
import stat
from collections.abc import Iterator

from mailroomd.auth.token_file import TokenFile, TokensUnreadable
from mailroomd.model.clock import now_ms
from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation

MAX_NAMED = 20
MCP_TOKEN = "mcp-token"  # noqa: S105 - made by `mailroom mcp --http`, in the state directory


def check(installation: Installation) -> Iterator[Finding]:
    """Reads the token file as the daemon does; for root, as the owner of the state directory does.

    Raises:
        OSError: the state directory belongs to another user, so the file cannot be judged.
    """
    yield from _check_mcp_token(installation)
    file = TokenFile(installation.state_dir)
    try:
        tokens = file.read_as_operator()
    except TokensUnreadable as error:
        if isinstance(error.__cause__, OSError) and not os.access(installation.state_dir, os.X_OK):
            raise error.__cause__ from None
        advice = (
            f"give {file.path} to the daemon's user with mode 600 (chown, chmod 600), or move it away and create new "
            "tokens with `mailroom token create`"
        )
        yield problem("tokens", f"every token is refused: {error}", advice)
        return
    without_holder = [token.id for token in tokens if not token.has_holder]
    if without_holder:
        names = " ".join(without_holder[:MAX_NAMED])
        yield warning(
            "tokens",
            f"{len(without_holder)} without a holder, which are refused: {names}",
            f"`mailroom token revoke {names}`, then create new ones for their agents (`mailroom token create`)",
        )
        return
    expired = sum(token.has_expired(now_ms()) for token in tokens)
    yield ok(
        "tokens", (f"{len(tokens)} in use" if tokens else "none") + (f", {expired} of them expired" if expired else "")
    )


def _check_mcp_token(installation: Installation) -> Iterator[Finding]:
    """Checks the file that `mailroom mcp --http` reads; reports nothing if there is none."""
    path = installation.state_dir / MCP_TOKEN
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    owner = installation.state_dir.stat().st_uid
    if not stat.S_ISREG(status.st_mode):
        yield problem("MCP token", f"{path} is not a regular file", "remove it: `mailroom mcp --http` makes a new one")
    elif status.st_uid != owner:
        summary = f"{path} belongs to uid {status.st_uid}, the state directory to uid {owner}"
        yield problem("MCP token", summary, "remove it: `mailroom mcp --http` makes a new one")
    elif status.st_mode & 0o077:
        advice = f"`chmod 600 {path}`; if others may have read it, remove it, and `mailroom mcp --http` makes a new one"
        yield problem("MCP token", f"{path} is open to others (mode {status.st_mode & 0o777:o})", advice)
    else:
        yield ok("MCP token", "private")
