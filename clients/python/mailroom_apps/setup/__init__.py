"""The command `mailroom setup` — connects agents' programs to the mail room by writing their settings, and disconnects.

`claude_code` and `codex` know the vendors' files and plan what they are to become, `json_text` edits JSON without
touching anything else, `change` shows and writes. A vendor's format lives in its module and nowhere else.
Invariant: what is not ours stays as it is, byte for byte; a file that is not understood is not touched.
"""
