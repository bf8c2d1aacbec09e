"""How a dataset was read from its file is part of its identity.

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

from db.errors import StoreError

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BEFORE = "uq_datasets_name_sha256_target"
UNIQUE = ("name", "sha256", "target", "reading")


def upgrade() -> None:
    op.add_column("datasets", sa.Column("reading", sa.Text(), nullable=False, server_default="{}"))
    with op.batch_alter_table("datasets", table_kwargs={"sqlite_autoincrement": True}) as datasets:
        datasets.alter_column("reading", server_default=None)
        datasets.drop_constraint(BEFORE, type_="unique")
        datasets.create_unique_constraint(op.f(f"{BEFORE}_reading"), list(UNIQUE))


def downgrade() -> None:
    """Raises StoreError for a dataset that 0005 would read in another way."""
    read = (
        "SELECT r.id FROM runs r JOIN datasets d ON d.id = r.dataset_id WHERE d.reading <> '{}' ORDER BY r.id"
    )
    if found := op.get_bind().exec_driver_sql(read).first():
        raise StoreError(
            f"schema 0005 knows no options for a table, and run {found[0]} has some; nothing was changed"
        )
    other = "SELECT id FROM datasets WHERE reading <> '{}'"
    op.execute(f"DELETE FROM features WHERE dataset_id IN ({other})")
    op.execute("DELETE FROM datasets WHERE reading <> '{}'")
    with op.batch_alter_table("datasets", table_kwargs={"sqlite_autoincrement": True}) as datasets:
        datasets.drop_constraint(op.f(f"{BEFORE}_reading"), type_="unique")
        datasets.drop_column("reading")
        datasets.create_unique_constraint(BEFORE, list(UNIQUE[:3]))
