"""cli — the command line of the daemon: `mailroomd`."""
