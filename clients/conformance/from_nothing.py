"""from_nothing — how long it takes from an empty directory to the first message, by the commands of docs/clients.md.

Each language gets a copy of the checkout, a home of its own and so empty caches; only what is installed in the system
is there already. Not here: the programs and their commands (`first_clients`).
"""

__all__ = ["measure"]

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from conformance.daemons import Daemons
from conformance.first_clients import FILES, PAGE, commands_of, first_client

BOUND_SEC = 1800.0
CACHES = ("CARGO_HOME", "GOPATH", "GOCACHE", "GOMODCACHE", "npm_config_cache", "NPM_CONFIG_CACHE", "PIP_CACHE_DIR")


def measure(languages: list[str]) -> None:
    """Prints the seconds of each command, and of all, for each language.

    Raises:
        RuntimeError: a command failed, or no message arrived.
    """
    daemons = Daemons()
    try:
        for language in languages:
            with tempfile.TemporaryDirectory(prefix="mrt-first-") as directory:
                _measure_one(language, Path(directory), daemons)
    finally:
        daemons.close()


def _measure_one(language: str, directory: Path, daemons: Daemons) -> None:
    checkout, place, home = (directory / name for name in ("mailroom", "first", "home"))
    for one in (checkout, place, home):
        one.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=PAGE.parent.parent, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", checkout], input=archive.stdout, check=True)
    first_client(language, place / FILES[language], daemons["main"].socket)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_", *CACHES))}
    places = {"HOME": str(home), "MAILROOM": str(checkout), "DEBIAN_FRONTEND": "noninteractive"}
    toolchain = {"RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup"))}  # it is no cache
    environment = kept | places | toolchain
    started = time.monotonic()
    done = subprocess.run(
        ["bash", "-ec", commands_of(language)],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )
    took_sec = time.monotonic() - started
    ids = re.findall("[0-9a-f]{16}", done.stdout)  # Maven puts a color before it
    if done.returncode or not any((daemons["main"].daemon.inbox / "abc" / f"{one}.json").exists() for one in ids):
        raise RuntimeError(f"{language}: ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")
    print(f"{language}: {took_sec:.0f} s", flush=True)
