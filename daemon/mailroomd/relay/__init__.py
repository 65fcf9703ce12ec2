"""relay — the worker between this daemon and the hub; it exists only with `--hub`, and alone knows NATS."""
