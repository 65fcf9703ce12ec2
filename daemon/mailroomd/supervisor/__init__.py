"""supervisor — starts, watches, restarts and stops the workers; owns the shared memory and the queues."""
