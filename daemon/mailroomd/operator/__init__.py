"""operator — tools that work on the daemon's own files: doctor, backup, systemd service."""
