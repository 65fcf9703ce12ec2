"""any_request — strategies for requests: any message of the contract, filled as its descriptor allows, and worse.

Owns what a hostile client would try in a text, a number or a message. It follows the contract by itself: a field that
is added to it is filled, too.
"""

__all__ = ["BAD_NAMES", "damaged", "request_bytes"]

import random
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

BAD_NAMES = (
    "", ".", "..", "../../../etc/cron.d/x", "/etc/passwd", "a/../../b", "a\0b", "\n", "~", "$(id)", "%2e%2e%2f", "a\\b",
    ".tmp", ".tmp/x", "inbox", "con", "nul.json", "a@../../b", "a@.lock", "@", "a@@b", "\u202e", "\ufeffabc", "é" * 200,
    "x" * 129, "a.json", "a" * 128, "-rf", "*", "." * 5000,
)  # fmt: skip
_GOOD_NAMES = ("abc", "bob", "agent@team", "dashboard")
_NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31))
_ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
_TEXTS = st.one_of(st.sampled_from(_GOOD_NAMES * 3 + BAD_NAMES), _ANY_TEXT, st.sampled_from(["7" * 16, "f" * 16]))
_ENDS_IN_DEPTH = 4


def request_bytes(request: type[Message]) -> st.SearchStrategy[bytes]:
    """Gives serialized requests of a type."""
    return _messages(cast("Descriptor", request.DESCRIPTOR), _ENDS_IN_DEPTH).map(
        lambda fields: _filled(request, fields)
    )


def damaged(whole: bytes, seed: int) -> bytes:
    """Returns bytes with some of them changed, lost or doubled."""
    chance = random.Random(seed)
    raw = bytearray(whole or b"\x0a")
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(raw) + 1)
        raw[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
    return bytes(raw)


def _messages(kind: Descriptor, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Gives fields by name, some of a message's or none."""
    return st.fixed_dictionaries({}, optional={field.name: _values(field, depth) for field in _fields(kind, depth)})


def _fields(kind: Descriptor, depth: int) -> list[FieldDescriptor]:
    return [one for one in kind.fields if depth or one.type != FieldDescriptor.TYPE_MESSAGE]


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    one = _single(field, depth)
    return st.lists(one, max_size=4) if field.is_repeated else one


def _single(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        if field.message_type.full_name.startswith("google.protobuf."):
            return _well_known(field.message_type.name)
        return _messages(field.message_type, depth - 1)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _TEXTS
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    return st.one_of(st.sampled_from(_NUMBERS[:3] if field.enum_type is not None else _NUMBERS), st.integers(0, 50))


def _well_known(name: str) -> st.SearchStrategy[dict[str, Any]]:
    if name == "Struct":
        leaves = st.one_of(_TEXTS, st.floats(), st.booleans(), st.none())
        trees = st.recursive(leaves, lambda more: st.lists(more) | st.dictionaries(_TEXTS, more), max_leaves=12)
        return st.dictionaries(_TEXTS, trees, max_size=4)
    seconds = st.sampled_from([0, 0, 1, -1, 2**31, 315_576_000_000, -(2**62)])
    return st.fixed_dictionaries({"seconds": seconds, "nanos": st.sampled_from([0, 1_000_000, -1, 2**31 - 1])})


def _filled(kind: type[Message], fields: dict[str, Any]) -> bytes:
    message = kind()
    _fill(message, fields)
    return message.SerializeToString()


def _fill(message: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        field: FieldDescriptor = message.DESCRIPTOR.fields_by_name[name]
        if field.message_type is None:
            if field.is_repeated:
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)
            continue
        for one in value if field.is_repeated else [value]:
            inner = getattr(message, name).add() if field.is_repeated else getattr(message, name)
            if field.message_type.name == "Struct":
                inner.update(one)
            else:
                _fill(inner, one)
            if not field.is_repeated:
                inner.SetInParent()
