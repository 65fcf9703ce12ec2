"""The application `mailroom` — its commands, and how their failures end.

Invariant: a refusal, a missing daemon or a vanished reader ends with at most one sentence and an exit code, never with
a traceback.
"""

__all__ = ["run"]

from typing import Annotated

import typer

from mailroom.cli.ack import ack
from mailroom.cli.agents import doorbell, hook
from mailroom.cli.connection import use_address
from mailroom.cli.exit_codes import ExitCode
from mailroom.cli.inbox import inbox
from mailroom.cli.mcp import mcp
from mailroom.cli.options import examples
from mailroom.cli.output import emit, remark
from mailroom.cli.send import send
from mailroom.cli.stats import stats
from mailroom.cli.status import status
from mailroom.cli.watch import watch
from mailroom.errors import DaemonNotRunning, MailroomError
from mailroom.setup.commands import setup

app = typer.Typer(
    name="mailroom",
    help="Mail between software agents: send, watch, check, acknowledge.",
    epilog=examples(
        "mailroom watch abc", "mailroom send abc go --from dashboard", "mailroom inbox abc", "mailroom ack abc --all"
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(
    epilog=examples(
        "mailroom send abc go --from dashboard",
        "git diff | mailroom send reviewer - --type diff --thread pr-12",
        "mailroom send abc 'still there?' --priority high --ttl 10m --metadata '{\"task\": 7}'",
    )
)(send)
app.command(epilog=examples("mailroom inbox abc", "mailroom inbox abc --wait 30s --json | jq -r .content"))(inbox)
app.command(
    epilog=examples(
        "mailroom watch abc --unread", "mailroom watch --all --json", "mailroom watch abc --after 0198c0ffee000001"
    )
)(watch)
app.command(epilog=examples("mailroom ack abc 0198c0ffee000001 0198c0ffee000002", "mailroom ack abc --all"))(ack)
app.command(epilog=examples("mailroom stats", "mailroom stats abc --json"))(stats)
app.command(epilog=examples("mailroom status", "mailroom status --json | jq -r .health"))(status)
app.add_typer(setup)
app.command(epilog=examples("mailroom hook --agent reviewer < event.json"))(hook)
app.command(epilog=examples("mailroom doorbell reviewer; echo $?"))(doorbell)
app.command(
    epilog=examples(
        "mailroom mcp --agent reviewer", "mailroom mcp --http 127.0.0.1:8030", "MAILROOM_CHANNEL=1 mailroom mcp"
    )
)(mcp)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            emit(f"mailroom {version('mailroomd')}")
        except PackageNotFoundError:
            emit("mailroom, not installed")
        raise typer.Exit


@app.callback()
def options(
    address: Annotated[
        str | None, typer.Option(help="Where the daemon is: unix:PATH or HOST:PORT. Found by itself when left out.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Mail between software agents: send, watch, check, acknowledge."""
    use_address(address)


def run() -> int:
    """Runs the command that the arguments name and returns the exit code."""
    try:
        app(prog_name="mailroom")
    except DaemonNotRunning as error:
        remark(error.message)
        return ExitCode.NOT_RUNNING
    except (MailroomError, OSError) as error:
        remark(str(error))
        return ExitCode.REFUSED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.OK
    return ExitCode.OK
