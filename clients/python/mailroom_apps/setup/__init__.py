"""The command `mailroom setup` — connects agent programs to Mailroom through their settings, and disconnects them.

`claude_code` and `codex` know the vendors' files and plan the changes, `json_text` edits JSON without touching anything
else, `change` shows and writes. A vendor's format is defined in its module and nowhere else.
Invariant: foreign entries stay as they are, byte for byte; a file that cannot be parsed is not changed.
"""
