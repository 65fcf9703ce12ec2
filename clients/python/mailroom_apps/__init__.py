"""mailroom_apps — the programs that are built on the SDK: command line, MCP server, hooks and their setup."""
