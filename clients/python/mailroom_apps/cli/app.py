"""The application `mailroom` — its commands, and how errors end them.

Invariant: a refusal, a missing daemon or a closed pipe ends with at most one sentence and an exit code, never with a
traceback.
"""

__all__ = ["run"]

from pathlib import Path
from typing import Annotated

import typer
from mailroom.errors import DaemonNotRunning, MailroomError

from mailroom_apps.cli.ack import ack
from mailroom_apps.cli.agents import agents
from mailroom_apps.cli.alias import alias
from mailroom_apps.cli.backup import backup, restore
from mailroom_apps.cli.broadcast import broadcast
from mailroom_apps.cli.clear import clear
from mailroom_apps.cli.command_group import CommandGroup
from mailroom_apps.cli.config import config
from mailroom_apps.cli.connection import use_access, use_address
from mailroom_apps.cli.dashboard import dashboard
from mailroom_apps.cli.doctor import doctor
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.export import export
from mailroom_apps.cli.hooks import doorbell, hook
from mailroom_apps.cli.import_messages import import_messages
from mailroom_apps.cli.inbox import inbox
from mailroom_apps.cli.listing import list_messages, search
from mailroom_apps.cli.mcp import mcp
from mailroom_apps.cli.options import AddressOption, examples
from mailroom_apps.cli.output import emit, emit_note
from mailroom_apps.cli.queues import queues
from mailroom_apps.cli.receipts import receipts
from mailroom_apps.cli.reply import reply
from mailroom_apps.cli.send import send
from mailroom_apps.cli.service import service
from mailroom_apps.cli.setup import setup
from mailroom_apps.cli.show import show
from mailroom_apps.cli.stats import stats
from mailroom_apps.cli.status import status
from mailroom_apps.cli.text_command import TextCommand
from mailroom_apps.cli.token import token
from mailroom_apps.cli.top import top
from mailroom_apps.cli.wait import wait
from mailroom_apps.cli.watch import watch

_HELP = "Durable messages between software agents: send, watch, check, acknowledge."

app = typer.Typer(
    cls=CommandGroup,
    name="mailroom",
    help=_HELP,
    epilog=examples(
        "mailroom watch abc", "mailroom send abc go --from dashboard", "mailroom inbox abc", "mailroom doctor"
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_TEXT_COMMANDS = {"broadcast", "reply", "search", "send"}
for _name, _command, _examples in (
    (
        "send",
        send,
        (
            "mailroom send abc go --from dashboard",
            "git diff | mailroom send reviewer - --type diff --thread pr-12",
            "mailroom send abc -- '- starts with a dash'",
            "mailroom send abc 'still there?' --priority high --ttl 10m --metadata '{\"task\": 7}'",
        ),
    ),
    ("broadcast", broadcast, ("mailroom broadcast 'lunch' ana bob", "mailroom broadcast - --all-alive < news.txt")),
    ("reply", reply, ("mailroom reply 0198c0ffee000001 'done' --ack", "make 2>&1 | mailroom reply 0198c0ffee000001")),
    ("inbox", inbox, ("mailroom inbox abc", "mailroom inbox abc --wait 30s --json | jq -r .content")),
    (
        "watch",
        watch,
        (
            "mailroom watch abc --unread",
            "mailroom watch --all --json",
            "mailroom watch dashboard --receipts",
            "mailroom watch abc --after 0198c0ffee000001",
        ),
    ),
    ("wait", wait, ("mailroom wait abc && mailroom inbox abc", "mailroom wait abc --timeout 10m || echo no message")),
    (
        "ack",
        ack,
        (
            "mailroom ack abc 0198c0ffee000001 0198c0ffee000002",
            "mailroom ack abc --all",
            "mailroom ack abc --all --by ana",
        ),
    ),
    ("show", show, ("mailroom show 0198c0ffee000001", "mailroom show 0198c0ffee000001 --json | jq .history")),
    (
        "list",
        list_messages,
        (
            "mailroom list abc",
            "mailroom list abc --unread --thread pr-12 --limit 100",
            "mailroom list abc --from ana --state read",
        ),
    ),
    ("search", search, ("mailroom search 'build failed'", "mailroom search 'deploy*' --agent abc --json")),
    ("receipts", receipts, ("mailroom receipts dashboard", "mailroom receipts dashboard --follow")),
    ("clear", clear, ("mailroom clear abc", "mailroom clear abc --yes")),
    ("agents", agents, ("mailroom agents", "mailroom agents --alive --json | jq -r .name")),
    ("alias", alias, ("mailroom alias bob 7f3a-session --ttl 8h", "mailroom alias bob 7f3a-session --end")),
    ("stats", stats, ("mailroom stats", "mailroom stats abc --json")),
    ("queues", queues, ("mailroom queues", "mailroom queues abc --json")),
    ("status", status, ("mailroom status", "mailroom status --json | jq -r .health")),
    ("backup", backup, ("mailroom backup mailroom-$(date +%F).db",)),
    ("restore", restore, ("mailroom restore mailroom-2026-11-24.db", "mailroom restore mailroom-2026-11-24.db --yes")),
    ("export", export, ("mailroom export > mail.jsonl", "mailroom export abc --unread | jq -r .content")),
    ("import", import_messages, ("mailroom import mail.jsonl", "mailroom export | mailroom --address B import -")),
    ("top", top, ("mailroom top", "mailroom top --every 10 --json | jq .per_second")),
    (
        "mcp",
        mcp,
        ("mailroom mcp --agent reviewer", "mailroom mcp --http 127.0.0.1:8030", "MAILROOM_CHANNEL=1 mailroom mcp"),
    ),
    ("hook", hook, ("mailroom hook --agent reviewer < event.json",)),
    ("doorbell", doorbell, ("mailroom doorbell reviewer; echo $?",)),
    ("doctor", doctor, ("mailroom doctor", "mailroom doctor --fix", "mailroom doctor --json | jq -r .summary")),
):
    _class = TextCommand if _name in _TEXT_COMMANDS else None
    app.command(_name, cls=_class, epilog=examples(*_examples))(_command)
for _group in (setup, service, config, dashboard):
    app.add_typer(_group)
app.add_typer(token, name="token")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            emit(f"mailroom {version('mailroomd')}")
        except PackageNotFoundError:
            emit("mailroom (not installed)")
        raise typer.Exit


@app.callback(help=_HELP)
def apply_options(
    address: Annotated[str | None, AddressOption] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token. MAILROOM_TOKEN can hold the token itself.")
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(help="Authority (PEM) of the daemon's certificate; enables TLS.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Client certificate (PEM) for mutual TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key (PEM) of --tls-cert.")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Applies the options in front of the command."""
    use_address(address)
    use_access({"token_file": token_file, "tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key})


def run() -> int:
    """Runs the command that the arguments name and returns the exit code."""
    try:
        app(prog_name="mailroom")
    except DaemonNotRunning as error:
        emit_note(error.message)
        return ExitCode.NOT_RUNNING
    except MailroomError as error:
        emit_note(error.message)
        return ExitCode.REFUSED
    except OSError as error:
        emit_note(_sentence(error))
        return ExitCode.REFUSED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.OK
    return ExitCode.OK


def _sentence(error: OSError) -> str:
    if error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the current directory was deleted: change to another directory"
    return str(error)
