"""inbox — one JSON file for each unread message, and the watch that notices when an agent takes one."""
