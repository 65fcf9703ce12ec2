"""core — pure decisions: validation, limits, aliases, restarts. Callers pass in the time; nothing here does I/O."""
