"""table — the mailbox table in shared memory: layout, one writer, readers that never wait."""
