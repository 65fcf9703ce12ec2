"""Programs — how each agent program is led to the stub models in a new home, and asked one question."""

__all__ = ["PROGRAMS", "Program"]

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.agents.workplace import Workplace

KEY = "sk-test-0123456789abcdefghij"
VERSIONS = json.loads((Path(__file__).parents[2] / "agents" / "package.json").read_text())["dependencies"]
OPENCODE_VERSION: str = VERSIONS["opencode-ai"]
Words = tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """One agent program.

    Attributes:
        name: as `mailroom setup` knows it.
        binary: what npm installs.
        prepare: writes the settings that a user has after the first start, and leads the program to the stub.
        setup: arguments for `mailroom setup`.
        ask: the command line that asks one question without a terminal.
        terminal: the command line of a session in a terminal.
        has_started: what its terminal shows when it takes a prompt.
        needs_prompt: its doorbell watches only after a first prompt.
        reach: lines of a script that make Mailroom's tools known to the model first.
        idle_setup: arguments for `mailroom setup`, without which an idle session is not woken.
        interrupt: the keys that end a turn.
        is_interrupted: what its terminal shows then.
    """

    name: str
    binary: str
    prepare: Callable[[Workplace], None]
    setup: Words
    ask: Callable[[str], Words]
    terminal: Callable[[Workplace], Words]
    has_started: str
    needs_prompt: bool = True
    reach: str = ""
    idle_setup: Words = ()
    interrupt: Words = ("Escape",)
    is_interrupted: str = "nterrupted"


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))


def _prepare_claude_code(place: Workplace) -> None:
    place.extra |= {
        "ANTHROPIC_BASE_URL": place.models.url,
        "ANTHROPIC_API_KEY": KEY,
        **dict.fromkeys(
            (
                "DISABLE_AUTOUPDATER",
                "DISABLE_TELEMETRY",
                "DISABLE_ERROR_REPORTING",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            ),
            "1",
        ),
    }
    trusted: dict[str, Any] = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    _write(
        place.home / ".claude.json",
        {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {str(place.project): trusted},
        },
    )
    _write(place.project / ".claude" / "settings.local.json", {"enabledMcpjsonServers": ["mailroom"]})


def _prepare_codex(place: Workplace) -> None:
    place.extra |= {"STUB_KEY": KEY}
    _write(
        place.home / ".codex" / "config.toml",
        'model = "stub"\nmodel_provider = "stub"\n\n[model_providers.stub]\nname = "stub"\n'
        f'base_url = "{place.models.url}/v1"\nwire_api = "responses"\nenv_key = "STUB_KEY"\n\n'
        f'[projects."{place.project}"]\ntrust_level = "trusted"\n',
    )


def _prepare_gemini(place: Workplace) -> None:
    place.extra |= {
        "GEMINI_API_KEY": KEY,
        "GOOGLE_GEMINI_BASE_URL": place.models.url,
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_TELEMETRY_ENABLED": "false",
    }
    settings: dict[str, Any] = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "general": {"disableAutoUpdate": True, "disableUpdateNag": True},
        "privacy": {"usageStatisticsEnabled": False},
    }
    _write(place.home / ".gemini" / "settings.json", settings)


def _prepare_opencode(place: Workplace) -> None:
    place.extra |= {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    # It installs this package before it loads a plugin. Without a registry that fails, and a run that ends meanwhile
    # leaves a lock, for which the next one waits for a minute.
    config = place.home / ".config" / "opencode"
    package = "@opencode-ai/plugin"
    needs = {"dependencies": {package: OPENCODE_VERSION}}
    packages = {"": needs, f"node_modules/{package}": {"version": OPENCODE_VERSION}}
    _write(config / "package.json", needs)
    _write(config / "package-lock.json", {"name": "opencode", "lockfileVersion": 3, "packages": packages})
    _write(config / "node_modules" / package / "package.json", {"name": package, "version": OPENCODE_VERSION})
    _write(place.home / ".npmrc", "offline=true\n")
    provider: dict[str, Any] = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "stub",
        "options": {"baseURL": f"{place.models.url}/v1", "apiKey": KEY},
        "models": {"stub": {"name": "stub"}},
    }
    _write(
        config / "opencode.json",
        {"provider": {"stub": provider}, "model": "stub/stub", "small_model": "stub/stub", "autoupdate": False},
    )


def _prepare_qwen(place: Workplace) -> None:
    place.extra |= {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{place.models.url}/v1", "OPENAI_MODEL": "stub"}
    settings: dict[str, Any] = {
        "security": {"auth": {"selectedType": "openai"}},
        "general": {"disableAutoUpdate": True, "enableAutoUpdate": False},
        "privacy": {"usageStatisticsEnabled": False},
    }
    _write(place.home / ".qwen" / "settings.json", settings)


def _qwen_input(place: Workplace) -> Words:
    file = place.directory / "input.jsonl"
    file.touch()
    return ("qwen", "--yolo", "--input-file", str(file))


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "claude-code",
            "claude",
            _prepare_claude_code,
            (),
            ask=lambda text: ("claude", "-p", text),
            terminal=lambda _: ("claude",),
            has_started="? for shortcuts",
            needs_prompt=False,
            is_interrupted="Called mailroom",
        ),
        Program(
            "codex",
            "codex",
            _prepare_codex,
            (),
            ask=lambda text: ("codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-hook-trust", text),
            terminal=lambda _: ("codex", "--dangerously-bypass-hook-trust"),
            has_started="? for shortcuts",
        ),
        Program(
            "gemini",
            "gemini",
            _prepare_gemini,
            (),
            ask=lambda text: ("gemini", "-y", "-p", text),
            terminal=lambda _: ("gemini", "-y"),
            has_started="Type your message",
            idle_setup=("--on-call",),
            is_interrupted="Request cancelled",
        ),
        Program(
            "opencode",
            "opencode",
            _prepare_opencode,
            (),
            ask=lambda text: ("opencode", "run", *text.split(" ")),  # it would quote an argument with spaces
            terminal=lambda _: ("opencode",),
            has_started="Ask anything",
            interrupt=("Escape", "Escape"),
        ),
        Program(
            "qwen",
            "qwen",
            _prepare_qwen,
            (),
            ask=lambda text: ("qwen", "--yolo", "-p", text),
            terminal=_qwen_input,
            has_started="Type your message",
            needs_prompt=False,
            reach='@@ tool tool_search {"query": "mailroom"}\n',
            is_interrupted="Request cancelled",
        ),
    )
}
