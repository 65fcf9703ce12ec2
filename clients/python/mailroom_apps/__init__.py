"""mailroom_apps — programs built on the SDK: the command line, the MCP server, hooks and their setup."""
