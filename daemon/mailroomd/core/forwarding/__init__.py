"""forwarding — the protocol between two daemons: exactly once, in order, over a hub that may do anything to a batch."""
