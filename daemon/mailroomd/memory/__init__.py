"""memory — shared memory that the supervisor passes to its workers, and cells that are never read torn."""
