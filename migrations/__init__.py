"""Alembic's migrations of the store, up and down, on SQLite and PostgreSQL."""
