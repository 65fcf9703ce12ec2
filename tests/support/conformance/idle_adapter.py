"""An adapter that does nothing, and answers as if everything went well, or as if everything failed.

Arguments: `success` or `failure`, and the kind of client that it claims to be. It knows nobody, and calls nothing.
"""

import json
import sys
from typing import Any

Line = dict[str, Any]
FAILURE = {"code": "ABORTED", "message": "no", "reason": "", "field": ""}  # a code that no scenario expects
ANSWERS: dict[str, dict[str, Line]] = {
    "success": {"open": {}, "unary": {"ok": {}}, "stream": {"end": {"code": "OK"}}, "bulk": {"responses": []}},
    "failure": {"open": {}, "unary": {"error": FAILURE}, "stream": {"end": FAILURE}, "bulk": {"error": FAILURE}},
}


def main(pretence: str, kind: str) -> None:
    """Answers until the driver ends."""
    print(json.dumps({"hello": {"library": "-", "version": "-", "runtime": "-", "kind": kind}}), flush=True)
    for text in sys.stdin:
        line = json.loads(text)
        answer = ANSWERS[pretence].get(line["op"])
        if answer is not None:
            print(json.dumps({"id": line["id"], **answer}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
