"""The first schema: datasets, features, runs, epochs, verdicts and the two history views.

Revision: 0001, after nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


class SignedZeroReal(sa.types.UserDefinedType[float]):
    """SQLite's bias column as it was at this revision; see `db.types`."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "REAL_BLOB"


ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
FLOAT32_MAX = "3.4028235e38"
LIVE_NIGHTLY = sa.text("trigger = 'nightly' AND status = 'running'")

VIEWS = {
    "sqlite": (
        """
        CREATE VIEW parameter_history (run_id, model, epoch, parameter, value) AS
        SELECT e.run_id, e.model, e.epoch, f.name, json_extract(e.weights, '$[' || f.position || ']')
        FROM epochs e
        JOIN runs r ON r.id = e.run_id
        JOIN features f ON f.dataset_id = r.dataset_id
        UNION ALL
        SELECT e.run_id, e.model, e.epoch, 'bias', e.bias
        FROM epochs e
        """,
        """
        CREATE VIEW parity_history (run_id, epoch, train_loss_gap, test_loss_gap, parameter_gap) AS
        SELECT a.run_id, a.epoch, abs(a.train_loss - b.train_loss), abs(a.test_loss - b.test_loss),
            max(abs(a.bias - b.bias), (
                SELECT max(abs(w.value - json_extract(b.weights, '$[' || w.key || ']')))
                FROM json_each(a.weights) w
            ))
        FROM epochs a
        JOIN epochs b ON b.run_id = a.run_id AND b.model = 'python' AND b.epoch = a.epoch
        WHERE a.model = 'paddle'
        """,
    ),
    "postgresql": (
        """
        CREATE VIEW parameter_history (run_id, model, epoch, parameter, value) AS
        SELECT e.run_id, e.model, e.epoch, f.name, e.weights[f.position + 1]::double precision
        FROM epochs e
        JOIN runs r ON r.id = e.run_id
        JOIN features f ON f.dataset_id = r.dataset_id
        UNION ALL
        SELECT e.run_id, e.model, e.epoch, 'bias', e.bias
        FROM epochs e
        """,
        """
        CREATE VIEW parity_history (run_id, epoch, train_loss_gap, test_loss_gap, parameter_gap) AS
        SELECT a.run_id, a.epoch, abs(a.train_loss - b.train_loss), abs(a.test_loss - b.test_loss),
            greatest(abs(a.bias - b.bias), (
                SELECT max(abs(w.a::double precision - w.b::double precision))
                FROM unnest(a.weights, b.weights) AS w (a, b)
            ))
        FROM epochs a
        JOIN epochs b ON b.run_id = a.run_id AND b.model = 'python' AND b.epoch = a.epoch
        WHERE a.model = 'paddle'
        """,
    ),
}


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("train_rows", sa.Integer(), nullable=False),
        sa.Column("test_rows", sa.Integer(), nullable=False),
        sa.Column("target_minimum", sa.Double(), nullable=False),
        sa.Column("target_maximum", sa.Double(), nullable=False),
        sa.Column("target_mean", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("name", "sha256", "target", name=op.f("uq_datasets_name_sha256_target")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "features",
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("minimum", sa.Double(), nullable=False),
        sa.Column("maximum", sa.Double(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_features_dataset_id_datasets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("dataset_id", "position", name=op.f("pk_features")),
        sa.UniqueConstraint("dataset_id", "name", name=op.f("uq_features_dataset_id_name")),
    )
    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("learning_rate", sa.Double(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("heartbeat_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("resumes", sa.Integer(), nullable=False),
        sa.Column("environment", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.CheckConstraint("epochs >= 1", name=op.f("ck_runs_epochs")),
        sa.CheckConstraint("learning_rate > 0", name=op.f("ck_runs_learning_rate")),
        sa.CheckConstraint("trigger IN ('manual', 'nightly', 'sweep')", name=op.f("ck_runs_trigger")),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'interrupted', 'crashed', 'diverged', 'failed')",
            name=op.f("ck_runs_status"),
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_runs_dataset_id_datasets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_dataset_id", "runs", ["dataset_id"])
    op.create_index(
        "uq_runs_live_nightly",
        "runs",
        ["trigger"],
        unique=True,
        sqlite_where=LIVE_NIGHTLY,
        postgresql_where=LIVE_NIGHTLY,
    )
    op.create_table(
        "epochs",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=False),
        sa.Column("test_loss", sa.Double(), nullable=False),
        sa.Column(
            "weights", sa.Text().with_variant(postgresql.ARRAY(sa.REAL()), "postgresql"), nullable=False
        ),
        sa.Column("bias", sa.Double().with_variant(SignedZeroReal(), "sqlite"), nullable=False),
        sa.Column("trained_at", sa.Double(), nullable=False),
        sa.CheckConstraint("epoch >= 0", name=op.f("ck_epochs_epoch")),
        sa.CheckConstraint(f"train_loss BETWEEN 0 AND {FLOAT32_MAX}", name=op.f("ck_epochs_train_loss")),
        sa.CheckConstraint(f"test_loss BETWEEN 0 AND {FLOAT32_MAX}", name=op.f("ck_epochs_test_loss")),
        sa.CheckConstraint(f"bias BETWEEN -{FLOAT32_MAX} AND {FLOAT32_MAX}", name=op.f("ck_epochs_bias")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_epochs_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "model", "epoch", name=op.f("pk_epochs")),
        sqlite_with_rowid=False,
    )
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
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("kind IN ('parity', 'reference', 'drift')", name=op.f("ck_verdicts_kind")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_verdicts_run_id_runs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["against_run_id"], ["runs.id"], name=op.f("fk_verdicts_against_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_verdicts_run_id", "verdicts", ["run_id"])
    op.create_index("ix_verdicts_against_run_id", "verdicts", ["against_run_id"])
    for view in VIEWS[op.get_bind().dialect.name]:
        op.execute(sa.text(view))


def downgrade() -> None:
    op.execute("DROP VIEW parity_history")
    op.execute("DROP VIEW parameter_history")
    for table in ("verdicts", "epochs", "runs", "features", "datasets"):
        op.drop_table(table)
