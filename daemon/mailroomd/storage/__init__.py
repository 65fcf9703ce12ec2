"""storage — where messages are kept: the mailbox table in shared memory, the database, the inbox files."""
