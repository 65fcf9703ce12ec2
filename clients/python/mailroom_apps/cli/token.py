"""`mailroom token` — makes, lists and revokes the tokens by which clients prove over TCP who they are.

Works on the daemon's state directory, whether the daemon runs or not; a running one notices at once. It is the one
command that knows the daemon's own files, so it is for the daemon's user, on the daemon's machine.
"""

__all__ = ["token"]

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from mailroom.addresses import state_directory
from mailroom.errors import MailroomError

from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Json, examples
from mailroom_apps.cli.output import emit, emit_json, emit_table, remark

if TYPE_CHECKING:
    from mailroomd.auth.token_file import TokenFile
    from mailroomd.auth.tokens import Token

_HEADERS = ("ID", "FOR", "MADE", "ENDS")

token = typer.Typer(
    help="Makes, lists and revokes tokens: who comes over TCP shows one.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StateDir = Annotated[
    Path | None, typer.Option(help="The daemon's state directory. Left out: MAILROOM_STATE_DIR, or its usual place.")
]


@token.command(
    epilog=examples(
        "mailroom token create --agent bob --save ~/.config/mailroom/bob.token",
        "mailroom token create --admin --ttl 30d",
        "MAILROOM_TOKEN=$(mailroom token create --agent bob) ./bob",
    )
)
def create(
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="The agent that it lets speak for itself.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="It lets do everything, for everybody.")] = False,
    ttl: Annotated[
        float | None, typer.Option(parser=parse_duration, metavar="DURATION", help="Ends after this time, e.g. 30d.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Put it into a new file of mode 0600.")] = None,
    state_dir: StateDir = None,
    json: Json = False,
) -> None:
    """Makes a token and shows it, this once: only its hash is kept."""
    if (agent is None) != admin:
        raise typer.BadParameter("a token is for an agent or for an administrator: give --agent NAME, or --admin")
    if ttl is not None and ttl <= 0:
        raise typer.BadParameter("a token that ends at once is of no use: give a longer time", param_hint="--ttl")
    with _file(state_dir) as file:
        try:
            text, made = file.create(agent, time.time_ns() // 1_000_000, int((ttl or 0) * 1000))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--agent") from error
        if save is not None:
            try:
                _save(save, text)
            except OSError:
                file.revoke({made.id})  # nobody will ever know it
                raise
    if json:
        emit_json(_to_dict(made) | {"token": None if save else text})
    elif save is None:
        emit(text)
    remark(f"token {made.id} for {_holder(made)}, ends: {_when(made.expires_ms, 'never')}. It is not shown again.")


@token.command(name="list")
def list_tokens(state_dir: StateDir = None, json: Json = False) -> None:
    """Lists the tokens: who has one, since when and until when. Not the tokens themselves: nobody knows them."""
    with _file(state_dir) as file:
        tokens = file.read_as_operator()
    if json:
        for one in tokens:
            emit_json(_to_dict(one))
    elif tokens:
        emit_table(_HEADERS, [_row(one) for one in tokens])
    else:
        remark(f"no tokens in {file.path}: `mailroom token create` makes one")


@token.command()
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids as `mailroom token list` shows them.")],
    state_dir: StateDir = None,
) -> None:
    """Revokes tokens: from now on they open nothing, and streams opened with them end."""
    with _file(state_dir) as file:
        gone = {one.id for one in file.revoke(set(ids))}
    for one in gone:
        emit(one)
    if missing := [one for one in ids if one not in gone]:
        remark(f"no such token: {', '.join(missing)} (`mailroom token list` shows the ids)")
        raise typer.Exit(ExitCode.REFUSED)


@contextmanager
def _file(state_dir: Path | None) -> "Generator[TokenFile]":
    from mailroomd.auth.token_file import TokenFile, TokensUnreadable

    directory = state_dir.expanduser().absolute() if state_dir is not None else state_directory()
    try:
        yield TokenFile(directory)
    except TokensUnreadable as error:
        raise MailroomError(str(error)) from error


def _save(file: Path, text: str) -> None:
    descriptor = os.open(file.expanduser(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text + "\n")


def _to_dict(made: "Token") -> dict[str, Any]:
    return {
        "id": made.id,
        "agent": made.agent or None,
        "admin": made.admin,
        "created_at": _moment(made.created_ms),
        "expires_at": _moment(made.expires_ms),
    }


def _row(made: "Token") -> tuple[str, ...]:
    ends = _when(made.expires_ms, "never")
    if made.has_expired(time.time_ns() // 1_000_000):
        ends += " (over)"
    return (made.id, _holder(made), _when(made.created_ms, "-"), ends)


def _holder(made: "Token") -> str:
    if not made.has_holder:
        return "no one: revoke it"
    return "an administrator" if made.admin else f"agent {made.agent}"


def _moment(moment_ms: int) -> str | None:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat() if moment_ms else None


def _when(moment_ms: int, otherwise: str) -> str:
    return datetime.fromtimestamp(moment_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M") if moment_ms else otherwise
