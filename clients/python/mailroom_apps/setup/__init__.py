"""The command `mailroom setup` — connects agent programs to Mailroom through their settings, and disconnects them.

`claude_code`, `codex` and so on know the vendors' files and plan the changes, `json_text` and `toml_table` edit without
touching anything else, `own_files` plans files that are ours as a whole, `change` shows and writes. A vendor's format
is defined in its module, or in that of its plugin or extension, and nowhere else.
Invariant: foreign entries stay as they are, byte for byte; a file that cannot be parsed is not changed.
"""
