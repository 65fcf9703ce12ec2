"""cli — the command line `mailroom`: one module for each command, and what they share."""
