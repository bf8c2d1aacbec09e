"""Digests of histories by block, and verdicts of the kinds integrity, exact and audit.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BEFORE = ("parity", "reference", "drift")
KINDS = (*BEFORE, "integrity", "exact", "audit")


def upgrade() -> None:
    op.create_table(
        "blocks",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("last_epoch", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_blocks_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "model", "last_epoch", name=op.f("pk_blocks")),
        sqlite_with_rowid=False,
    )
    # Null marks what `job db upgrade` has still to compute. Of a downsampled run, nothing can be computed.
    op.execute(
        """
        INSERT INTO blocks (run_id, model, last_epoch)
        SELECT run_id, model, last_epoch
        FROM (
            SELECT m.run_id, m.name AS model, (
                SELECT max(e.epoch) FROM epochs e WHERE e.run_id = m.run_id AND e.model = m.name
            ) AS last_epoch
            FROM models m JOIN runs r ON r.id = m.run_id
            WHERE r.thinned_every IS NULL AND r.pruning IS NULL
        ) AS trained
        WHERE last_epoch IS NOT NULL
        """
    )
    allow(KINDS)


def downgrade() -> None:
    op.execute(f"DELETE FROM verdicts WHERE kind NOT IN {BEFORE}")
    allow(BEFORE)
    op.execute("UPDATE models SET digest = NULL")
    op.drop_table("blocks")


def allow(kinds: tuple[str, ...]) -> None:
    """Let verdicts have these kinds and no other."""
    check = f"kind IN {kinds}"
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("ck_verdicts_kind", "verdicts")
        op.create_check_constraint(op.f("ck_verdicts_kind"), "verdicts", check)
        return
    for index in ("run_id", "against_run_id"):
        op.drop_index(f"ix_verdicts_{index}", "verdicts")
    op.execute("ALTER TABLE verdicts RENAME TO old_verdicts")  # SQLite cannot change a constraint
    op.create_table(
        "verdicts",
        sa.Column("id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("against_run_id", ID, nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("first_epoch", sa.Integer(), nullable=True),
        sa.Column("worst", sa.Double(), nullable=True),
        sa.Column("tolerance", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("against_model", sa.Text(), nullable=True),
        sa.CheckConstraint(check, name=op.f("ck_verdicts_kind")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_verdicts_run_id_runs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["against_run_id"],
            ["runs.id"],
            name=op.f("fk_verdicts_against_run_id_runs"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sqlite_autoincrement=True,
    )
    op.execute("INSERT INTO verdicts SELECT * FROM old_verdicts")
    op.drop_table("old_verdicts")
    for index in ("run_id", "against_run_id"):
        op.create_index(f"ix_verdicts_{index}", "verdicts", [index])
