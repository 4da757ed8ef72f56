"""The driver's storage: the session, Delta tables, a dataset's files."""
