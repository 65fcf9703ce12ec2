"""processes — the three kinds of worker: mailbox, command-queue, gateway. They never import each other."""
