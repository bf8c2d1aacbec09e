"""What differs between SQLite and PostgreSQL; the rest of the store is the same on both."""
