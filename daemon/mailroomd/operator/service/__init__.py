"""service — the daemon as a systemd service, for `mailroom service`."""
