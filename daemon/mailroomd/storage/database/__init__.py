"""database — `mailroom.db`: its schema, its one writer and its readers."""
