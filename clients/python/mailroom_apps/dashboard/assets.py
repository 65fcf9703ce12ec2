"""Assets — the files of the page, read once at the start.

Invariant: only the names found then are served; no path of a request ever reaches the file system.
"""

__all__ = ["Asset", "load_assets", "version_of"]

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page.

    Attributes:
        compressed: the content by gzip.
        etag: names this version of it.
    """

    content: bytes
    compressed: bytes
    media_type: str
    etag: str


def load_assets() -> dict[str, Asset]:
    """Returns each file by the path under which it is served; the page itself also by "/"."""
    assets = dict(_walk(files("mailroom_apps.dashboard") / "assets", "/"))
    return assets | {"/": assets["/index.html"]}


def version_of(assets: dict[str, Asset]) -> str:
    """Returns a name for exactly these files: a page of another version says so, and offers to load itself again."""
    names = "".join(sorted(f"{path}{asset.etag}" for path, asset in assets.items()))
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def _walk(directory: Traversable, prefix: str) -> "list[tuple[str, Asset]]":
    found: list[tuple[str, Asset]] = []
    for entry in directory.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif media_type := TYPES.get(entry.name.rpartition(".")[2]):
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            found.append((prefix + entry.name, Asset(content, gzip.compress(content, mtime=0), media_type, etag)))
    return found
