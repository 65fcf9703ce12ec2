"""model — the values that everything else is made of: ids, messages, states, limits, errors, settings."""
