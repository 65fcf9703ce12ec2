"""table — the mailbox table in shared memory: its layout, one writer, and readers that never wait."""
