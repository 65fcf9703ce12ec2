"""Schemas — shortens the JSON schemas that pydantic generates: they are part of every agent's context.

Removed are titles made up from names, and null as the alternative of an optional value: an answer never has it, and
an argument that is null counts as absent anyway.
"""

__all__ = ["compact"]

from typing import Any, cast

_NULL = {"type": "null"}


def compact(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a shorter schema with the same meaning."""
    return cast("dict[str, Any]", _compact(schema))


def _compact(node: object) -> object:
    if isinstance(node, list):
        return [_compact(item) for item in cast("list[object]", node)]
    if not isinstance(node, dict):
        return node
    fields = cast("dict[str, object]", node)
    choices = fields.get("anyOf")
    if isinstance(choices, list) and _NULL in choices:
        return _compact(_without_null(fields, cast("list[dict[str, object]]", choices)))
    return {key: _compact(value) for key, value in fields.items() if not (key == "title" and isinstance(value, str))}


def _without_null(fields: dict[str, object], choices: list[dict[str, object]]) -> dict[str, object]:
    rest = {key: value for key, value in fields.items() if key not in ("anyOf", "default")}
    kept = [choice for choice in choices if choice != _NULL]
    return {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept}
