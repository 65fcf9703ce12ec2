"""`mailroom token` — creates, lists and revokes the tokens by which TCP clients prove their identity.

Works on the daemon's state directory, whether the daemon runs or not; a running daemon notices changes at once. It is
for the user of the daemon, on the daemon's machine.
"""

__all__ = ["token"]

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from mailroom.addresses import expand_home, state_directory

from mailroom_apps.cli.command_group import CommandGroup
from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Json, StateDir, examples, require_name
from mailroom_apps.cli.output import emit, emit_json, emit_note, emit_table

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mailroomd.operator.tokens import Token, TokenFile

_HEADERS = ("ID", "FOR", "CREATED", "EXPIRES")

token = typer.Typer(
    cls=CommandGroup,
    help="Create, list and revoke tokens: TCP clients must present one.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@token.command(
    epilog=examples(
        "mailroom token create --agent bob --save ~/.config/mailroom/bob.token",
        "mailroom token create --admin --ttl 30d",
        "MAILROOM_TOKEN=$(mailroom token create --agent bob) ./bob",
    )
)
def create(
    agent: Annotated[
        str | None, typer.Option(metavar="NAME", help="The agent that the token identifies.", callback=require_name)
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Permit everything, for every agent.")] = False,
    ttl: Annotated[
        float | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="Expire after this time, e.g. 30d."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the token to a new file with mode 0600.")
    ] = None,
    state_dir: StateDir = None,
    json: Json = False,
) -> None:
    """Create a token and show it once. Only its hash is kept."""
    if (agent is None) != admin:
        raise typer.BadParameter("give --agent NAME for an agent's token, or --admin for an administrator's")
    if ttl is not None and ttl <= 0:
        raise typer.BadParameter("must be more than 0", param_hint="--ttl")
    from mailroomd.operator.tokens import create_token

    with _open_token_file(state_dir) as file:
        try:
            text, record = create_token(file, agent, ttl)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--agent") from error
        if save is not None:
            try:
                _save(save, text)
            except OSError:
                file.revoke({record.id})  # the text of the token is lost
                raise
    if json:
        emit_json(_to_dict(record) | {"token": None if save else text})
    elif save is None:
        emit(text)
    expiry = _format_time(record.expires_ms, "never")
    emit_note(f"token {record.id} for {_holder(record)}, expires: {expiry}. It cannot be shown again.")


@token.command(name="list", epilog=examples("mailroom token list", "mailroom token list --json | jq -r .id"))
def list_tokens(state_dir: StateDir = None, json: Json = False) -> None:
    """List the tokens: their ids, holders and lifetimes. The tokens themselves are not stored."""
    with _open_token_file(state_dir) as file:
        records = file.read_as_operator()
    if json:
        for record in records:
            emit_json(_to_dict(record))
    elif records:
        emit_table(_HEADERS, [_row(record) for record in records])
    else:
        emit_note(f"no tokens in {file.path}; create one with `mailroom token create`")


@token.command(epilog=examples("mailroom token revoke 1f0c9a2e"))
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids from `mailroom token list`.")],
    state_dir: StateDir = None,
) -> None:
    """Revoke tokens. They are rejected from now on, and the streams opened with them end."""
    with _open_token_file(state_dir) as file:
        revoked = {record.id for record in file.revoke(set(ids))}
    for token_id in revoked:
        emit(token_id)
    if unknown := [token_id for token_id in ids if token_id not in revoked]:
        emit_note(f"no such token: {', '.join(unknown)} (see `mailroom token list`)")
        raise typer.Exit(ExitCode.REFUSED)


def _open_token_file(state_dir: str | None) -> "AbstractContextManager[TokenFile]":
    from mailroomd.operator.tokens import open_token_file

    return open_token_file(expand_home(Path(state_dir)).absolute() if state_dir is not None else state_directory())


def _save(file: Path, text: str) -> None:
    descriptor = os.open(expand_home(file), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text + "\n")
        opened.flush()
        os.fsync(opened.fileno())  # there is no other copy


def _to_dict(record: "Token") -> dict[str, Any]:
    return {
        "id": record.id,
        "agent": record.agent or None,
        "admin": record.admin,
        "created_at": _iso_time(record.created_ms),
        "expires_at": _iso_time(record.expires_ms),
    }


def _row(record: "Token") -> tuple[str, ...]:
    from mailroomd.operator.tokens import has_expired

    expiry = _format_time(record.expires_ms, "never")
    if has_expired(record):
        expiry += " (expired)"
    return (record.id, _holder(record), _format_time(record.created_ms, "-"), expiry)


def _holder(record: "Token") -> str:
    if not record.has_holder:
        return "no holder (revoke it)"
    return "an administrator" if record.admin else f"agent {record.agent}"


def _iso_time(time_ms: int) -> str | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat() if time_ms else None


def _format_time(time_ms: int, absent: str) -> str:
    return datetime.fromtimestamp(time_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M") if time_ms else absent
