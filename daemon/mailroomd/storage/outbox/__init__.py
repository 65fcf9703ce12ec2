"""outbox — JSON files that agents leave as responses."""
