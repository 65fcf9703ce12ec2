"""worker — what every worker process shares: its context, the control channel, the common entry point."""
