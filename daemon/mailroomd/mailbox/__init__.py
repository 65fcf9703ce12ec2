"""mailbox — the worker that assigns ids, owns the mailbox table and announces durable messages."""
