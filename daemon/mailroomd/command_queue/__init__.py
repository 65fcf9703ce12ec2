"""command_queue — the worker that makes messages durable and writes the inbox files."""
