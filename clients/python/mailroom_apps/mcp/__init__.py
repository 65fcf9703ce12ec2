"""mailroom_apps.mcp — an MCP server in front of the mail room, so that an agent gets its mail as tools and resources.

Owns what MCP clients see: `toolbox` (tools; their work is in `reading`, `writing`, `looking_up`), `resources`,
`watching` (tells that a resource has changed), `channel` (the doorbell), and the ways to serve them: `over_stdio` and
`over_http`. A client of the daemon like any other: below it is `AsyncMailroom`, above it the command `mailroom mcp`.
Needs the extra `mailroomd[mcp]`; nothing else of the package imports it.
"""

__all__: list[str] = []
