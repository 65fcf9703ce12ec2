"""mailroom_apps.mcp — an MCP server for Mailroom: an agent gets its mail as tools and resources.

Owns what MCP clients see: `toolbox` (the tools; their work is in `inbox_tools`, `send_tools` and `lookup_tools`),
`resources`, `subscriptions` (notifications that a resource has changed), `channel` (the Claude Code channel), and the
transports: `stdio_server` and `http_server`. It is a client of the daemon like any other: below it is `AsyncMailroom`,
above it the command `mailroom mcp`.
Needs the extra `mailroomd[mcp]`; no other part of the package imports it.
"""

__all__: list[str] = []
