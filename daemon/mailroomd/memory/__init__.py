"""memory — shared memory that is handed down at spawn, and the cells from which its readers never read a torn value."""
