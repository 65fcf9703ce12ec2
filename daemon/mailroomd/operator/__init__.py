"""operator — the tools that work on the daemon's own files: doctor, backup and restore, systemd service."""
