"""protocol — the vocabulary that the worker processes speak: packets, commands, outcomes, local events."""
