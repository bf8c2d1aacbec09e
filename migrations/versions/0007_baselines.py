"""Baselines, and verdicts of the kind baseline.

Revision: 0007, after 0006
"""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

verdicts = import_module("migrations.versions.0005_digests")


def upgrade() -> None:
    op.create_table(
        "baselines",
        sa.Column("id", verdicts.ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("run_id", verdicts.ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("former_run_id", verdicts.ID, nullable=True),
        sa.Column("first_epoch", sa.Integer(), nullable=True),
        sa.Column("worst", sa.Double(), nullable=True),
        sa.Column("environment_changes", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('set', 'cleared')", name=op.f("ck_baselines_kind")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_baselines_run_id_runs")),
        sa.ForeignKeyConstraint(["former_run_id"], ["runs.id"], name=op.f("fk_baselines_former_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_baselines")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_baselines_run_id", "baselines", ["run_id"])
    verdicts.allow((*verdicts.KINDS, "baseline"))


def downgrade() -> None:
    op.execute("DELETE FROM verdicts WHERE kind = 'baseline'")
    verdicts.allow(verdicts.KINDS)
    op.drop_table("baselines")
