"""observability — log, journal, tracing and metrics."""
