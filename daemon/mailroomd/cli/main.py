"""mailroomd — the daemon's command line.

Owns argparse, `--help` and the exit code; its flags are made from the table of settings. It decides nothing: the values
are `cli.configuration`'s, the work is the supervisor's, which is imported only when there is something to run. Standard
library only, so that `--version`, `--help` and errors come at once. Invariant: no way out shows a traceback.
"""

__all__ = ["main"]

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from mailroomd import __version__
from mailroomd.cli.configuration import Configuration, ConfigurationError, Origin, resolve
from mailroomd.model.settings import settings_table

_INTRODUCTION = "Runs the mail room: durable messages between software agents on this machine, over gRPC."
_EXAMPLES = """\
examples:
  mailroomd                                      on the defaults, in the foreground
  mailroomd --listen 127.0.0.1:50051             on TCP, for clients with a token of `mailroom token create`
  mailroomd --root /srv/agents --state-dir /var/lib/mailroom --listen unix:/run/mailroom/mailroom.sock
  MAILROOM_STUCK_AFTER=30s mailroomd             any flag from the environment
  mailroomd --config mailroomd.toml              any flag as a TOML key:  stuck-after = "30s"

A flag wins over the environment, that over the file, that over the default. SIGTERM or Ctrl-C stops: what was
accepted is finished first. Exit codes are those of sysexits.h; 64, 73 and 78 mean that a restart will not help.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the daemon until it is stopped, and returns its exit code."""
    flags = vars(_parser().parse_args(arguments))
    config_file = flags.pop("config")
    try:
        configuration = resolve({key: texts for key, texts in flags.items() if texts}, config_file)
    except ConfigurationError as error:
        usage = error.origin in (Origin.FLAG, Origin.DEFAULT)
        return _refuse(error.sentence, os.EX_USAGE if usage else os.EX_CONFIG)
    try:
        return _serve(configuration)
    except KeyboardInterrupt:  # before the supervisor listens to signals
        return os.EX_OK


def _serve(configuration: Configuration) -> int:
    from mailroomd.supervisor.daemon import run_daemon  # `--help` should not pay for it
    from mailroomd.supervisor.exits import Refusal

    try:
        run_daemon(configuration.settings, configuration.origins)
    except Refusal as refusal:
        return _refuse(refusal.sentence, refusal.exit_code)
    except Exception as error:  # noqa: BLE001 - the last stand before the user
        return _refuse(f"internal error: {type(error).__name__}: {error}", os.EX_SOFTWARE)
    return os.EX_OK


def _refuse(sentence: str, exit_code: int) -> int:
    print(f"mailroomd: {sentence}", file=sys.stderr)
    return exit_code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SystemExit(_refuse(f"{message} (see mailroomd --help)", os.EX_USAGE))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mailroomd",
        description=_INTRODUCTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a flag that is added later must not change what a script means today
    )
    parser.add_argument("--version", action="version", version=f"mailroomd {__version__}")
    parser.add_argument(
        "--config", metavar="FILE", help="TOML file (default: $XDG_CONFIG_HOME/mailroom/mailroomd.toml, if it exists)"
    )
    groups: dict[str, argparse._ArgumentGroup] = {}  # pyright: ignore[reportPrivateUsage] - it has no public name
    for setting in settings_table():
        group = (
            groups.setdefault(setting.group, parser.add_argument_group(setting.group))
            if setting.group not in groups
            else groups[setting.group]
        )
        text = f"{setting.help} (default: {setting.shown_default})".replace("%", "%%")
        group.add_argument(setting.flag, dest=setting.key, metavar=setting.metavar, action="append", help=text)
    return parser
