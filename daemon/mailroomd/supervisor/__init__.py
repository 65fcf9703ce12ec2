"""supervisor — starts, watches, restarts and stops the workers; holds the shared memory and the queues."""
