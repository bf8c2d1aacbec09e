"""Archives of histories, and the models whose history is read from one.

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op

from db.errors import StoreError

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "archives",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("columns", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_archives")),
    )
    op.create_table(
        "archived_models",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trained_at", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "model"],
            ["models.run_id", "models.name"],
            name=op.f("fk_archived_models_run_id_model_models"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["digest"], ["archives.digest"], name=op.f("fk_archived_models_digest_archives")
        ),
        sa.PrimaryKeyConstraint("run_id", "model", name=op.f("pk_archived_models")),
    )
    op.create_index("ix_archived_models_digest", "archived_models", ["digest"])


def downgrade() -> None:
    query = "SELECT count(DISTINCT run_id), min(run_id) FROM archived_models"
    runs, first = op.get_bind().exec_driver_sql(query).one()
    if runs:
        raise StoreError(
            f"schema 0007 has no archives; archived runs: {runs}, the first is run {first}; nothing was "
            f"changed; `job db unarchive {first}` puts its epochs back"
        )
    op.drop_table("archived_models")
    op.drop_table("archives")
