"""Every number of a run, decided, with its origin: a file a table."""
