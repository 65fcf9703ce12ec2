"""Conformance — what every client of Mailroom must do, tried against real daemons."""
