"""model — what everything else is made of: ids, records, states, errors, settings. Standard library only."""
