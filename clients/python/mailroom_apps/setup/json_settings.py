"""JsonSettings — entries of ours in another program's JSON settings: written, updated in place, and removed.

Several programs share the layout: MCP servers in an object by name, and hooks as `{EVENT: [{"hooks": [HANDLER, …]}]}`.
An entry that is there already keeps whatever was added to it. Only what we own is set: of a server, the command and the
agent's name; of a handler, its command line. Everything else of ours is a default, which is added where it is missing.
Invariant: what is described is ours; other values of an entry can be secrets.
"""

__all__ = ["Handler", "Server", "Settings", "plan_file", "shaped"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mailroom_apps.setup.change import Change, SetupError, read_text
from mailroom_apps.setup.json_text import JsonError, JsonText, Key
from mailroom_apps.setup.options import SERVER_NAME
from mailroom_apps.setup.program import is_our_server, is_ours

HANDLER_LIST_DEPTH = 4  # hooks, EVENT, index of the group, hooks
SUBCOMMANDS = ("hook", "doorbell")


@dataclass(frozen=True, slots=True)
class Server:
    """The entry of the MCP server.

    Attributes:
        key: the object that holds all servers.
        owned: what is set, whether or not the entry exists.
        defaults: what is added where it is missing.
    """

    key: str
    owned: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Handler:
    """One hook.

    Attributes:
        event: the program's name of the event.
        subcommand: which command of ours it runs: "hook" or "doorbell".
        owned: what is set.
        defaults: what is added where it is missing.
    """

    event: str
    subcommand: str
    owned: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything of ours in one file; what is not listed is removed from it.

    Attributes:
        path: the file.
        server: None: this file is not for servers.
        handlers: None: this file is not for hooks.
        listed: strings that arrays hold, by the path of the array: rules that allow our tools, for example.
    """

    path: Path
    server: Server | None = None
    handlers: Sequence[Handler] | None = None
    listed: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])


def plan_file(settings: Settings, *, remove: bool) -> Change:
    """Returns the change of one file.

    Args:
        settings: what it should hold.
        remove: it should hold none of that.

    Raises:
        SetupError: it cannot be parsed, has another structure, or another program owns our server's name.
    """
    path = settings.path
    before = read_text(path)
    if before is None and remove:
        return Change(path, None, None)
    try:
        document = JsonText(before if before and before.strip() else "{}\n")
        if not isinstance(document.value, dict):
            raise SetupError(f"{path} was not changed: it is not a JSON object")
        after = _Editor(document, settings).run(remove=remove)
    except JsonError as error:
        raise SetupError(f"{path} was not changed: {error}") from error
    is_empty = remove and before and after.text != before and after.text.strip() == "{}"
    text = None if is_empty or (before is None and not after.value) else after.text
    return Change(path, before, text, _entries(document, settings), _entries(after, settings))


class _Editor:
    """Edits one document. Each step replaces `document` by an edited one."""

    def __init__(self, document: JsonText, settings: Settings) -> None:
        self.document = document
        self._settings = settings

    def run(self, *, remove: bool) -> JsonText:
        """Returns the document with our entries, or without them."""
        if self._settings.server is not None:
            self._set_server(self._settings.server, remove=remove)
        if self._settings.handlers is not None:
            self._set_handlers([] if remove else self._settings.handlers)
        for array, value in self._settings.listed.items():
            self._set_listed(array, value, remove=remove)
        return self.document

    def _set_server(self, server: Server, *, remove: bool) -> None:
        path = (server.key, SERVER_NAME)
        current = self.document.get(*path)
        if current is not None and not is_our_server(current):
            if remove:
                return
            raise SetupError(
                f"{self._settings.path} was not changed: its server {SERVER_NAME!r} belongs to another program; "
                "rename that server first"
            )
        if remove:
            if current is not None:
                self._remove(path)
        elif current is None:
            self._put((server.key,), SERVER_NAME, {**server.owned, **server.defaults})
        else:
            self._merge(path, server.owned, server.defaults)

    def _set_handlers(self, handlers: Sequence[Handler]) -> None:
        wanted = {(handler.event, handler.subcommand): handler for handler in handlers}
        for path, event, subcommand, _ in reversed(_our_handlers(self.document)):
            if handler := wanted.pop((event, subcommand), None):
                self._merge(path, handler.owned, handler.defaults)
            else:
                self._remove(path)
        for handler in handlers:
            if (handler.event, handler.subcommand) in wanted:
                group = {"hooks": [{**handler.owned, **handler.defaults}]}
                self._put(("hooks", handler.event), None, group)

    def _set_listed(self, array: tuple[str, str], value: str, *, remove: bool) -> None:
        current = _as_list(self.document.get(*array))
        if remove and value in current:
            self._remove((*array, current.index(value)))
        elif not remove and value not in current:
            self._put(array, None, value)

    def _merge(self, path: tuple[Key, ...], owned: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        """Sets what is owned and adds defaults that are missing; None removes a value."""
        for key, value in owned.items():
            current = self.document.get(*path, key)
            if isinstance(value, Mapping) and isinstance(current, dict):
                self._merge((*path, key), cast("Mapping[str, Any]", value), {})
            elif value is None and current is not None:
                self._remove((*path, key))
            elif value is not None and current is None:
                self._add(path, key, _without_none(value))
            elif current != value:
                self.document = self.document.replaced((*path, key), cast("object", value))
        for key, value in defaults.items():
            if self.document.get(*path, key) is None:
                self._add(path, key, value)

    def _add(self, path: tuple[Key, ...], key: str, value: object) -> None:
        if value != {}:
            self._drop_null((*path, key))
            self.document = self.document.added(path, key, value)

    def _put(self, path: tuple[str, ...], key: str | None, value: object) -> None:
        """Adds an entry, with the objects on the path to it."""
        for depth, name in enumerate(path):
            is_last = depth == len(path) - 1
            empty: object = [] if is_last and key is None else {}
            current = self.document.get(*path[: depth + 1])
            if current is None:
                self._drop_null(path[: depth + 1])
                self.document = self.document.added(path[:depth], name, empty)
            elif not isinstance(current, type(empty)):
                kind = "array" if isinstance(empty, list) else "object"
                where = ".".join(path[: depth + 1])
                raise SetupError(f"{self._settings.path} was not changed: {where} is not a JSON {kind}")
        if key is not None:
            self._drop_null((*path, key))
        self.document = self.document.added(path, key, _without_none(value))

    def _drop_null(self, path: tuple[Key, ...]) -> None:
        """Removes an entry that is null, which counts as absent: a key must not be there twice."""
        if self.document.has(*path) and self.document.get(*path) is None:
            self.document = self.document.removed(path)

    def _remove(self, path: tuple[Key, ...]) -> None:
        """Removes an entry, and the group, event and object that would be empty then.

        A group without handlers has no effect, whatever other keys it has.
        """
        depth = len(path)
        is_handler = path[0] == "hooks"
        while depth > 1 and (
            (is_handler and depth == HANDLER_LIST_DEPTH) or len(self.document.get(*path[: depth - 1])) == 1
        ):
            depth -= 1
        self.document = self.document.removed(path[:depth])


def _entries(document: JsonText, settings: Settings) -> list[tuple[str, object]]:
    """Returns our entries in a document, as far as we own them."""
    found: list[tuple[str, object]] = []
    if (server := settings.server) is not None:
        entry = document.get(server.key, SERVER_NAME)
        if is_our_server(entry):
            found.append((f"{server.key}.{SERVER_NAME}", shaped(entry, {**server.owned, **server.defaults})))
    if settings.handlers is not None:
        shape = {"type", "command", "timeout", "async", "asyncRewake", "name"}
        found += [
            (f"hooks.{event}", {key: value for key, value in handler.items() if key in shape})
            for _, event, _, handler in _our_handlers(document)
        ]
    for array, value in settings.listed.items():
        if value in _as_list(document.get(*array)):
            found.append((".".join(array), value))
    return found


def shaped(value: Any, shape: Mapping[str, Any]) -> Any:
    """Returns the part of an entry that has our keys."""
    return {
        key: shaped(value[key], cast("Mapping[str, Any]", inner))
        if isinstance(inner, Mapping) and isinstance(value[key], dict)
        else value[key]
        for key, inner in shape.items()
        if key in value
    }


def _our_handlers(document: JsonText) -> "list[tuple[tuple[Key, ...], str, str, dict[str, Any]]]":
    """Returns our handlers: the path of each, its event, its subcommand, and itself."""
    found: list[tuple[tuple[Key, ...], str, str, dict[str, Any]]] = []
    for event, groups in _as_object(document.get("hooks")).items():
        for group_index, group in enumerate(_as_list(groups)):
            for index, handler in enumerate(_as_list(_as_object(group).get("hooks"))):
                command = _as_object(handler).get("command")
                for subcommand in SUBCOMMANDS:
                    if isinstance(command, str) and is_ours(command, subcommand):
                        found.append((("hooks", event, group_index, "hooks", index), event, subcommand, handler))
    return found


def _without_none(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    fields = cast("Mapping[str, Any]", value)
    members = {key: _without_none(member) for key, member in fields.items() if member is not None}
    return {key: member for key, member in members.items() if member != {}}


def _as_list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _as_object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
