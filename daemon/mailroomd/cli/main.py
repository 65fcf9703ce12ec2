"""main — the daemon's command line.

Owns argparse, `--help` and the exit code; its flags are generated from the table of settings. Values come from
`cli.configuration`. The supervisor does the work and is imported only when there is something to run, so `--version`,
`--help` and errors are instant. Invariant: no way out shows a traceback.
"""

__all__ = ["main"]

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from mailroomd import __version__
from mailroomd.cli.configuration import Configuration, ConfigurationError, Origin, resolve
from mailroomd.model.settings import Settings, settings_table
from mailroomd.observability.log import print_error

_DESCRIPTION = "Runs the Mailroom daemon: durable messages between software agents on this machine, over gRPC."
_EPILOG = """\
examples:
  mailroomd                                      run in the foreground with the defaults
  mailroomd --listen 127.0.0.1:50051             listen on TCP; clients need a token from `mailroom token create`
  mailroomd --root /srv/agents --state-dir /var/lib/mailroom --listen unix:/run/mailroom/mailroom.sock
  MAILROOM_STUCK_AFTER=30s mailroomd             any setting as an environment variable
  mailroomd --config mailroomd.toml              any setting as a TOML key:  stuck-after = "30s"
  mailroomd --example-config                     print a configuration file to start from

Flags override environment variables, which override the file, which overrides the defaults. SIGTERM or Ctrl-C stops
the daemon after it has finished what it accepted. SIGHUP reloads the settings. Exit codes follow sysexits.h; after 64,
73 or 78 a restart will not help: fix what the message names.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the daemon until it is stopped, and returns its exit code."""
    flags = vars(_parser().parse_args(arguments))
    config_file, task = flags.pop("config"), flags.pop("task")
    read = partial(resolve, {key: texts for key, texts in flags.items() if texts}, config_file)
    try:
        configuration = read()
    except ConfigurationError as error:
        return _refuse(error.sentence, _exit_code(error))
    try:
        return task(configuration) if task else _serve(configuration, read)
    except KeyboardInterrupt:  # before the supervisor handles signals
        return os.EX_OK


def _exit_code(error: ConfigurationError) -> int:
    return os.EX_USAGE if error.origin in (Origin.FLAG, Origin.DEFAULT) else os.EX_CONFIG


def _check(configuration: Configuration) -> int:
    from mailroomd.cli.configuration_report import misspelt_variables

    for sentence in misspelt_variables():
        print_error(f"warning: {sentence}")
    print(f"The configuration is valid ({configuration.file or 'no configuration file'}).")
    return os.EX_OK


def _show(form: str, configuration: Configuration) -> int:
    from mailroomd.cli import configuration_report

    render = configuration_report.render_json if form == "json" else configuration_report.render_text
    print(render(configuration), end="")
    return os.EX_OK


def _serve(configuration: Configuration, read: Callable[[], Configuration]) -> int:
    from mailroomd.supervisor.daemon import run_daemon  # `--help` should not pay for it
    from mailroomd.supervisor.exits import Refusal

    def read_settings() -> Settings:
        try:
            return read().settings
        except ConfigurationError as error:
            raise Refusal(error.sentence, _exit_code(error)) from None

    try:
        run_daemon(configuration.settings, configuration.origins, read_settings)
    except Refusal as refusal:
        return _refuse(refusal.sentence, refusal.exit_code)
    except Exception as error:  # noqa: BLE001 - the outermost handler
        return _refuse(f"internal error: {type(error).__name__}: {error}", os.EX_SOFTWARE)
    return os.EX_OK


def _refuse(sentence: str, exit_code: int) -> int:
    print_error(sentence)
    return exit_code


def _show_task(form: str) -> Callable[[Configuration], int]:
    if form not in ("text", "json"):
        raise argparse.ArgumentTypeError(f"must be text or json, not {form!r}")
    return partial(_show, form)


class _PrintExample(argparse.Action):
    """Prints the example file and exits, as --version does, even if the current configuration is invalid."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002 - argparse's name
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from mailroomd.cli.reference import example_toml

        print(example_toml(), end="")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SystemExit(_refuse(f"{message} (see mailroomd --help)", os.EX_USAGE))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mailroomd",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,  # a flag added later must not change the meaning of an existing script
    )
    parser.add_argument("-h", "--help", action="help", help="Show this message and exit.")
    parser.add_argument(
        "--version", action="version", version=f"mailroomd {__version__}", help="Show the version and exit."
    )
    parser.add_argument(
        "--config", metavar="FILE", help="TOML file. (default: $XDG_CONFIG_HOME/mailroom/mailroomd.toml, if it exists)"
    )
    _add_tasks(parser)
    groups: dict[str, argparse._ArgumentGroup] = {}  # pyright: ignore[reportPrivateUsage] - it has no public name
    for setting in settings_table():
        if setting.group not in groups:
            groups[setting.group] = parser.add_argument_group(setting.group)
        text = f"{setting.help} (default: {setting.shown_default})".replace("%", "%%")
        groups[setting.group].add_argument(
            setting.flag, dest=setting.key, metavar=setting.metavar, action="append", help=text
        )
    return parser


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    """Adds what the command can do instead of running the daemon."""
    tasks = parser.add_mutually_exclusive_group()
    tasks.add_argument(
        "--check-config",
        dest="task",
        action="store_const",
        const=_check,
        help="Check the configuration without starting the daemon.",
    )
    tasks.add_argument(
        "--show-config",
        dest="task",
        metavar="FORMAT",
        nargs="?",
        const=partial(_show, "text"),
        type=_show_task,
        help="List each setting's value and origin without starting the daemon. FORMAT is text (the default) or json.",
    )
    tasks.add_argument("--example-config", action=_PrintExample, help="Print a configuration file with every default.")
