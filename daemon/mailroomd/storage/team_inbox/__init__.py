"""team_inbox — entries in Claude Code's team inboxes."""
