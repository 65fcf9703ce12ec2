"""The commands `mailroom setup …` — they show the changes, ask, and write."""

__all__ = ["setup"]

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from mailroom.inbox_directory import is_mailbox_name

from mailroom_apps.cli.command_group import CommandGroup
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import examples
from mailroom_apps.cli.output import emit, emit_note
from mailroom_apps.printable import printable
from mailroom_apps.setup import (
    claude_code,
    claude_plugin,
    codex,
    gemini,
    gemini_extension,
    generic,
    opencode,
    qwen,
)
from mailroom_apps.setup.change import Change, SetupError
from mailroom_apps.setup.options import SetupOptions
from mailroom_apps.setup.program import own_command

setup = typer.Typer(
    cls=CommandGroup,
    name="setup",
    help="Connect an agent program to Mailroom through its settings; shows the change first.",
    no_args_is_help=True,
)


class Scope(StrEnum):
    """Which settings are written."""

    PROJECT = "project"
    USER = "user"


def _checked_name(name: str | None) -> str | None:
    if name is not None and not is_mailbox_name(name):
        raise typer.BadParameter("use 1 to 128 of A-Z a-z 0-9 . _ - with at most one @, not starting with a dot")
    return name


AgentName = Annotated[
    str | None,
    typer.Option("--agent", callback=_checked_name, help="The agent's name.", show_default="the session's id"),
]
Command = Annotated[str | None, typer.Option(help="How to start this program.", show_default="its absolute path")]
Project = Annotated[bool, typer.Option("--project", help="Change the settings of the project in this directory.")]
User = Annotated[bool, typer.Option("--user", help="Change your own settings, for all projects.")]
Remove = Annotated[bool, typer.Option("--remove", help="Remove the entries of this command, and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show the change.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@setup.command(
    "claude-code",
    epilog=examples("mailroom setup claude-code --agent reviewer", "mailroom setup claude-code --user --remove"),
)
def set_up_claude_code(
    project: Project = False,
    user: User = False,
    agent: AgentName = None,
    command: Command = None,
    remove: Remove = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    plugin: Annotated[
        bool, typer.Option("--plugin", help="Make a plugin for you instead, with a marketplace to install it from.")
    ] = False,
) -> None:
    """Write the MCP server and the hooks into Claude Code's settings (of this project, unless --user)."""
    if plugin:
        if project:
            raise typer.BadParameter("a plugin is installed for a user", param_hint="--project, --plugin")
        _set_up_plugin(_options(Scope.USER, agent, command, remove), dry_run=dry_run, yes=yes)
        return
    scope = _scope(project, user, Scope.PROJECT)
    changed = _apply(claude_code.plan, _options(scope, agent, command, remove), dry_run=dry_run, yes=yes)
    if changed and not remove:
        emit_note("restart Claude Code, and approve the server if it asks")


def _set_up_plugin(options: SetupOptions, *, dry_run: bool, yes: bool) -> None:
    if not _apply(claude_plugin.plan, options, dry_run=dry_run, yes=yes):
        return
    if options.remove:
        emit_note(f"to remove the installed copy: claude plugin uninstall {claude_plugin.PLUGIN}")
        return
    directory = shlex.quote(str(claude_plugin.directory_of()))
    emit_note(f"now run: claude plugin marketplace add {directory} && claude plugin install {claude_plugin.PLUGIN}")


@setup.command("codex", epilog=examples("mailroom setup codex --agent reviewer", "mailroom setup codex --remove"))
def set_up_codex(
    project: Project = False,
    user: User = False,
    agent: AgentName = None,
    command: Command = None,
    remove: Remove = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Write the MCP server, the hooks and the doorbell into Codex's settings (yours, unless --project)."""
    scope = _scope(project, user, Scope.USER)
    changed = _apply(codex.plan, _options(scope, agent, command, remove), dry_run=dry_run, yes=yes)
    if changed and not remove:
        emit_note(
            "start Codex again and agree to the hooks when it asks. After /quit a session stays in Codex's background "
            "server, where mail wakes it, until `codex app-server daemon stop`"
        )


@setup.command("gemini", epilog=examples("mailroom setup gemini --agent reviewer", "mailroom setup gemini --remove"))
def set_up_gemini(
    project: Project = False,
    user: User = False,
    agent: AgentName = None,
    command: Command = None,
    remove: Remove = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    extension: Annotated[
        bool, typer.Option("--extension", help="Write an extension and a policy for you instead; no settings change.")
    ] = False,
    on_call: Annotated[
        bool, typer.Option("--on-call", help="Wait for mail after each answer; for a session that nobody types into.")
    ] = False,
) -> None:
    """Write the MCP server and the hooks into Gemini CLI's settings (yours, unless --project)."""
    if extension and project:
        raise typer.BadParameter("an extension is installed for a user", param_hint="--project, --extension")
    scope = _scope(project, user, Scope.USER)
    options = replace(_options(scope, agent, command, remove), on_call=on_call)
    changed = _apply(gemini_extension.plan if extension else gemini.plan, options, dry_run=dry_run, yes=yes)
    if changed and not remove:
        advice = (
            "" if on_call else "; it cannot be woken while it is idle: let it call wait_for_message, or see --on-call"
        )
        emit_note(f"start Gemini again{advice}")


@setup.command(
    "opencode", epilog=examples("mailroom setup opencode --agent reviewer", "mailroom setup opencode --remove")
)
def set_up_opencode(
    project: Project = False,
    user: User = False,
    agent: AgentName = None,
    command: Command = None,
    remove: Remove = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Write a plugin for opencode (for you, unless --project)."""
    scope = _scope(project, user, Scope.USER)
    changed = _apply(opencode.plan, _options(scope, agent, command, remove), dry_run=dry_run, yes=yes)
    if changed and not remove:
        emit_note("start opencode again; all of its sessions are this one agent")


@setup.command("qwen", epilog=examples("mailroom setup qwen --agent reviewer", "mailroom setup qwen --remove"))
def set_up_qwen(
    project: Project = False,
    user: User = False,
    agent: AgentName = None,
    command: Command = None,
    remove: Remove = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Write the MCP server and the hooks into Qwen Code's settings (yours, unless --project)."""
    scope = _scope(project, user, Scope.USER)
    changed = _apply(qwen.plan, _options(scope, agent, command, remove), dry_run=dry_run, yes=yes)
    if changed and not remove:
        emit_note("start Qwen again; with --input-file FILE it can be woken: see docs/agents.md")


@setup.command("generic")
def show_generic(agent: AgentName = None, command: Command = None) -> None:
    """Print settings for any other program."""
    emit(generic.snippet(_options(Scope.USER, agent or "NAME", command, remove=False)))


def _scope(project: bool, user: bool, default: Scope) -> Scope:
    if project and user:
        raise typer.BadParameter("give only one of them", param_hint="--project, --user")
    return Scope.PROJECT if project else Scope.USER if user else default


def _options(scope: Scope, agent: str | None, command: str | None, remove: bool) -> SetupOptions:
    words = tuple(shlex.split(command)) if command else own_command()
    return SetupOptions(Path.cwd(), scope is Scope.USER, agent, words, remove)


def _apply(plan: Callable[[SetupOptions], list[Change]], options: SetupOptions, *, dry_run: bool, yes: bool) -> bool:
    """Shows the changes and makes them if the user agrees. All are planned before the first is made."""
    try:
        changes = [change for change in plan(options) if change.is_needed]
        if not changes:
            emit_note("nothing to change")
            return False
        for change in changes:
            emit(printable(change.describe()))
        if dry_run:
            return False
        if not _is_confirmed(changes, options, yes=yes):
            emit_note("nothing was changed")
            raise typer.Exit(ExitCode.REFUSED)
        for change in changes:
            change.write()
            emit_note(f"{'removed' if change.after is None else 'wrote'} {change.path}")
        return True
    except SetupError as error:
        emit_note(str(error))
        raise typer.Exit(ExitCode.REFUSED) from error


def _is_confirmed(changes: Sequence[Change], options: SetupOptions, *, yes: bool) -> bool:
    """Returns whether the user agrees. A project's link to a file elsewhere needs more than --yes: it may be a trap."""
    project = options.directory.resolve()
    outside = [change for change in changes if not (options.for_user or change.real_path.is_relative_to(project))]
    for change in outside:
        emit_note(f"{change.path} leads out of the project, to {change.real_path}")
    if yes and not outside:
        return True
    if not sys.stdin.isatty():
        way = "run this in a terminal to agree" if outside else "pass --yes to make this change"
        emit_note(f"standard input is not a terminal: {way}")
        return False
    return typer.confirm("Make this change?", err=True)
