"""service — the daemon as a systemd service: installed, looked at and taken away by `mailroom service`."""
