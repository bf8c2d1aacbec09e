"""`nights` becomes `scheduled_runs`, pruning gets its own column, and the store gets an id.

Revision: 0003, after 0002
"""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
DELETION = 2**31 - 1
"""up to 0002, `thinned_every` of a run being deleted; of one being downsampled it is DELETION - step"""


def upgrade() -> None:
    move("nights", "scheduled_runs")
    op.create_table(
        "store",
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store")),
    )
    op.execute(f"INSERT INTO store (id) VALUES ('{uuid4().hex}')")
    # SQLite adds a constraint to a table only together with a column.
    op.execute(
        "ALTER TABLE runs ADD COLUMN pruning TEXT"
        " CONSTRAINT ck_runs_pruning CHECK (pruning IN ('delete', 'thin'))"
    )
    op.execute(
        f"UPDATE runs SET pruning = CASE thinned_every WHEN {DELETION} THEN 'delete' ELSE 'thin' END,"
        f" thinned_every = nullif({DELETION} - thinned_every, 0) WHERE thinned_every >= {2**30}"
    )


def downgrade() -> None:
    op.execute(f"UPDATE runs SET thinned_every = {DELETION} WHERE pruning = 'delete'")
    op.execute(f"UPDATE runs SET thinned_every = {DELETION} - thinned_every WHERE pruning = 'thin'")
    op.execute("ALTER TABLE runs DROP COLUMN pruning")
    op.drop_table("store")
    move("scheduled_runs", "nights")


def move(old: str, new: str) -> None:
    """Rename a table with its constraints and its sequence: make a new one, fill it, drop the old one."""
    op.create_table(
        new,
        sa.Column("id", ID, nullable=False),
        sa.Column("schedule", sa.Text(), nullable=True),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "status IN ('due', 'started', 'skipped', 'missed', 'failed')", name=op.f(f"ck_{new}_status")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f(f"fk_{new}_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{new}")),
        sa.UniqueConstraint("schedule", "due_at", name=op.f(f"uq_{new}_schedule_due_at")),
        sqlite_autoincrement=True,
    )
    columns = "id, schedule, due_at, status, run_id, detail, created_at"
    op.execute(f"INSERT INTO {new} ({columns}) SELECT {columns} FROM {old}")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"SELECT setval('{new}_id_seq', (SELECT last_value FROM {old}_id_seq),"
            f" (SELECT is_called FROM {old}_id_seq))"
        )
    op.drop_table(old)
    op.create_index(f"ix_{new}_run_id", new, ["run_id"])
