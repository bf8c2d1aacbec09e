"""Scheduled runs and what became of them (table `nights`), sweeps, downsampled runs.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("ALTER TABLE runs ADD COLUMN sweep TEXT")
    # SQLite adds a constraint to a table only together with a column.
    op.execute(
        "ALTER TABLE runs ADD COLUMN thinned_every INTEGER"
        " CONSTRAINT ck_runs_thinned_every CHECK (thinned_every >= 2)"
    )
    op.create_index("ix_runs_sweep", "runs", ["sweep"])
    op.create_table(
        "nights",
        sa.Column("id", ID, nullable=False),
        sa.Column("schedule", sa.Text(), nullable=True),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "status IN ('due', 'started', 'skipped', 'missed', 'failed')", name=op.f("ck_nights_status")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_nights_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nights")),
        sa.UniqueConstraint("schedule", "due_at", name=op.f("uq_nights_schedule_due_at")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_nights_run_id", "nights", ["run_id"])


def downgrade() -> None:
    op.drop_table("nights")
    op.drop_index("ix_runs_sweep", "runs")
    op.execute("ALTER TABLE runs DROP COLUMN thinned_every")
    op.execute("ALTER TABLE runs DROP COLUMN sweep")
