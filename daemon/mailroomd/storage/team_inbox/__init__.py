"""team_inbox — appending messages to Claude Code's team inboxes."""
