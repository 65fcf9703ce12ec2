"""digest_of — the digest by which a repeated request under an idempotency key is recognized as the same.

Digests are kept in databases for a day, also across an upgrade. So the digest covers the first fields in their order,
and each later one only where it is set (`mailroom.message_fields`: ALWAYS, IF_SET). Not here: the keys.
Invariant: two drafts have the same digest exactly if they are the same request, whichever version made it.
"""

__all__ = ["digest_function", "digest_of"]

import hashlib
from collections.abc import Callable, Sequence
from operator import attrgetter

import msgspec
from mailroom.message_fields import ALWAYS, FIELDS, IF_SET, MessageField

from mailroomd.model.message import Draft

DIGEST_BYTES = 16


def digest_function(fields: Sequence[MessageField]) -> Callable[[Draft], bytes]:
    """Returns the function that makes the digest of a draft with these fields."""
    always = attrgetter(*(field.stored for field in fields if field.digest == ALWAYS))
    later = [(field.stored, field.absent) for field in fields if field.digest == IF_SET]
    encode = msgspec.msgpack.Encoder().encode

    def digest(draft: Draft) -> bytes:
        request: tuple[object, ...] = always(draft)
        for name, absent in later:
            value = getattr(draft, name)
            if value != absent:
                request += (name, value)
        return hashlib.blake2b(encode(request), digest_size=DIGEST_BYTES).digest()

    return digest


digest_of = digest_function(FIELDS)
