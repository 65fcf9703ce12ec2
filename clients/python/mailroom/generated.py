"""generate — makes a function from source text, for the conversions that every message passes.

The text comes from the table of fields (`mailroom.message_fields`): one expression or statement for each field, by its
kind. A loop that calls a function for each field takes twice as long. `dataclasses` does the same. Tracebacks show the
generated lines.
"""

__all__ = ["generate"]

import linecache
from collections.abc import Mapping
from typing import Any


def generate(source: str, names: Mapping[str, object]) -> Any:
    """Returns the function that a source text defines.

    Args:
        source: one `def`; only text of this project.
        names: what the function refers to.
    """
    name = source.removeprefix("def ").partition("(")[0]
    file = f"<generated {name}>"
    namespace = dict(names)
    exec(compile(source, file, "exec"), namespace)  # noqa: S102 - own text
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return namespace[name]
