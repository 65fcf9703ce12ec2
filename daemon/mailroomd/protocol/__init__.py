"""protocol — what the worker processes say to each other: requests, commands, outcomes, local events."""
