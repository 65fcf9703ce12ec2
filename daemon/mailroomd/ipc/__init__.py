"""ipc — how the processes talk: packet queues that outlive both ends, the packets, the links, the control page."""
