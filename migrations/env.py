"""Runs the migrations on the connection that `db.migrate` (or a test) provides."""

from alembic import context

from db.migrate import COMPARISON
from db.schema import Base
from db.version import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    **COMPARISON,
)
with context.begin_transaction():
    context.run_migrations()
