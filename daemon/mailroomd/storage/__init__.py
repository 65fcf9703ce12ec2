"""storage — everything on disk: the database, inbox files, outbox files and team inboxes."""
