"""ipc — how the processes talk: packet queues that survive both ends, links with a handshake, the control page."""
