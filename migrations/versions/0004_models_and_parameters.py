"""A run names its models and parameters; an epoch holds one vector; verdicts name the models they are about.

Revision: 0004, after 0003
"""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

from db.errors import StoreError

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FLOAT32_MAX = "3.4028235e38"
FINITE = {
    "sqlite": "instr(parameters, 'n') = 0",
    "postgresql": "NOT parameters && '{NaN,Infinity,-Infinity}'",
}
VALUE = {
    "sqlite": "json_extract(e.parameters, '$[' || p.position || ']')",
    "postgresql": "e.parameters[p.position + 1]::double precision",
}
GAP = {
    "sqlite": """
        SELECT max(abs(w.value - json_extract(b.parameters, '$[' || w.key || ']')))
        FROM json_each(a.parameters) w
    """,
    "postgresql": """
        SELECT max(abs(w.a::double precision - w.b::double precision))
        FROM unnest(a.parameters, b.parameters) AS w (a, b)
    """,
}
FIRST = import_module("migrations.versions.0001_initial")
"""which has the views and the type of the bias up to 0003"""


def upgrade() -> None:
    backend = op.get_bind().dialect.name
    drop_views()
    op.add_column("datasets", sa.Column("sum_error", sa.Double(), nullable=True))
    op.create_table(
        "models",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_sha256", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_models_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_models")),
        sa.UniqueConstraint("run_id", "position", name=op.f("uq_models_run_id_position")),
    )
    op.create_table(
        "parameters",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_parameters_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "position", name=op.f("pk_parameters")),
        sa.UniqueConstraint("run_id", "name", name=op.f("uq_parameters_run_id_name")),
    )
    for position, name in enumerate(("paddle", "python")):
        op.execute(
            "INSERT INTO models (run_id, position, name, source)"
            f" SELECT id, {position}, '{name}', '{name}' FROM runs"
        )
    # Up to 0003, a further model could only be added to the code.
    op.execute(
        "INSERT INTO models (run_id, position, name, source)"
        " SELECT run_id, 1 + row_number() OVER (PARTITION BY run_id ORDER BY model), model, model"
        " FROM (SELECT DISTINCT run_id, model FROM epochs WHERE model NOT IN ('paddle', 'python')) AS others"
    )
    op.execute(
        "INSERT INTO parameters (run_id, position, name)"
        " SELECT r.id, f.position, f.name FROM runs r JOIN features f ON f.dataset_id = r.dataset_id"
        " UNION ALL"
        " SELECT r.id, count(*), 'bias' FROM runs r JOIN features f ON f.dataset_id = r.dataset_id"
        " GROUP BY r.id"
    )
    for column in ("model", "against_model"):
        op.execute(f"ALTER TABLE verdicts ADD COLUMN {column} TEXT")
    op.execute("UPDATE verdicts SET model = 'python', against_model = 'paddle' WHERE kind = 'parity'")
    if backend == "sqlite":
        copy_epochs(
            [sa.Column("parameters", sa.Text(), nullable=False)],
            [sa.CheckConstraint(FINITE[backend], name=op.f("ck_epochs_parameters"))],
            f"-{FLOAT32_MAX}",
            "with_bias(weights, bias)",
        )
    else:
        # One rewrite of the table, without a copy of it in memory.
        op.execute("ALTER TABLE epochs ALTER COLUMN weights TYPE real[] USING weights || bias::real")
        op.execute("ALTER TABLE epochs DROP COLUMN bias")
        op.execute("ALTER TABLE epochs RENAME COLUMN weights TO parameters")
        op.create_check_constraint(op.f("ck_epochs_parameters"), "epochs", FINITE[backend])
        check_losses(f"-{FLOAT32_MAX}")
    op.execute(
        f"""
        CREATE VIEW parameter_history (run_id, model, epoch, parameter, value) AS
        SELECT e.run_id, e.model, e.epoch, p.name, {VALUE[backend]}
        FROM epochs e
        JOIN parameters p ON p.run_id = e.run_id
        """
    )
    op.execute(
        f"""
        CREATE VIEW parity_history
            (run_id, model, against_model, epoch, train_loss_gap, test_loss_gap, parameter_gap) AS
        SELECT m.run_id, m.name, f.name, b.epoch, abs(a.train_loss - b.train_loss),
            abs(a.test_loss - b.test_loss), ({GAP[backend]})
        FROM models m
        JOIN models f ON f.run_id = m.run_id AND f.position = 0
        JOIN epochs b ON b.run_id = m.run_id AND b.model = m.name
        JOIN epochs a ON a.run_id = m.run_id AND a.model = f.name AND a.epoch = b.epoch
        WHERE m.position > 0
        """
    )


def downgrade() -> None:
    backend = op.get_bind().dialect.name
    refuse_what_0003_cannot_hold()
    drop_views()
    if backend == "sqlite":
        copy_epochs(
            [
                sa.Column("weights", sa.Text(), nullable=False),
                sa.Column("bias", FIRST.SignedZeroReal(), nullable=False),
            ],
            [
                sa.CheckConstraint(
                    f"bias BETWEEN -{FLOAT32_MAX} AND {FLOAT32_MAX}", name=op.f("ck_epochs_bias")
                )
            ],
            "0",
            "weights(parameters), bias(parameters)",
        )
    else:
        op.drop_constraint("ck_epochs_parameters", "epochs")
        op.execute("ALTER TABLE epochs RENAME COLUMN parameters TO weights")
        op.execute("ALTER TABLE epochs ADD COLUMN bias double precision")
        op.execute(
            "UPDATE epochs SET bias = weights[cardinality(weights)],"
            " weights = weights[1 : cardinality(weights) - 1]"
        )
        op.alter_column("epochs", "bias", nullable=False)
        op.create_check_constraint(
            op.f("ck_epochs_bias"), "epochs", f"bias BETWEEN -{FLOAT32_MAX} AND {FLOAT32_MAX}"
        )
        check_losses("0")
    for column in ("model", "against_model"):
        op.execute(f"ALTER TABLE verdicts DROP COLUMN {column}")
    op.drop_table("parameters")
    op.drop_table("models")
    op.execute("ALTER TABLE datasets DROP COLUMN sum_error")
    for view in FIRST.VIEWS[backend]:
        op.execute(sa.text(view))


def drop_views() -> None:
    for view in ("parity_history", "parameter_history"):
        op.execute(f"DROP VIEW {view}")


def check_losses(least: str) -> None:
    """On PostgreSQL, let the losses be from `least` up."""
    for loss in ("train_loss", "test_loss"):
        op.drop_constraint(f"ck_epochs_{loss}", "epochs")
        op.create_check_constraint(
            op.f(f"ck_epochs_{loss}"), "epochs", f"{loss} BETWEEN {least} AND {FLOAT32_MAX}"
        )


def copy_epochs(
    columns: list[sa.Column[object]], checks: list[sa.CheckConstraint], least: str, values: str
) -> None:
    """On SQLite, which cannot change a constraint: make the table anew and fill it row by row."""
    driver = op.get_bind().connection.driver_connection
    for function in (with_bias, weights, bias):
        driver.create_function(function.__name__, -1, function, deterministic=True)  # type: ignore[union-attr]
    op.execute("ALTER TABLE epochs RENAME TO old_epochs")
    op.create_table(
        "epochs",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=False),
        sa.Column("test_loss", sa.Double(), nullable=False),
        *columns,
        sa.Column("trained_at", sa.Double(), nullable=False),
        sa.CheckConstraint("epoch >= 0", name=op.f("ck_epochs_epoch")),
        *(
            sa.CheckConstraint(f"{loss} BETWEEN {least} AND {FLOAT32_MAX}", name=op.f(f"ck_epochs_{loss}"))
            for loss in ("train_loss", "test_loss")
        ),
        *checks,
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_epochs_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "model", "epoch", name=op.f("pk_epochs")),
        sqlite_with_rowid=False,
    )
    op.execute(
        f"INSERT INTO epochs SELECT run_id, model, epoch, train_loss, test_loss, {values}, trained_at"
        " FROM old_epochs"
    )
    op.drop_table("old_epochs")


def with_bias(weights: str, bias: float) -> str:
    """A packed vector with the bias as its last number, in the shortest decimal that keeps its bits."""
    import numpy as np  # not at the top: Alembic loads every migration

    exact = np.float32(bias)
    shortest = str(exact)
    # For a few numbers, the shortest decimal read as a double rounds to a neighbour; -0.0 keeps its sign.
    return f"{weights[:-1]},{shortest if np.float32(float(shortest)) == exact else repr(bias)}]"


def weights(parameters: str) -> str:
    """A packed vector without its last number."""
    return parameters[: parameters.rindex(",")] + "]"


def bias(parameters: str) -> float:
    """The last number of a packed vector, which is float32."""
    import numpy as np

    return float(np.float32(float(parameters[parameters.rindex(",") + 1 : -1])))


def refuse_what_0003_cannot_hold() -> None:
    """Raises StoreError for a run of other models than the two, or of other parameters than a weight each."""
    other = op.get_bind().exec_driver_sql(
        "SELECT run_id, name FROM models WHERE name NOT IN ('paddle', 'python') OR source <> name"
        " ORDER BY run_id, position"
    )
    if found := other.first():
        raise StoreError(
            f"schema 0003 knows only the models paddle and python, and run {found[0]} has {found[1]}; "
            "nothing was changed"
        )
    differing = op.get_bind().exec_driver_sql(
        """
        SELECT r.id FROM runs r WHERE EXISTS (
            SELECT 1 FROM parameters p WHERE p.run_id = r.id AND p.name <> coalesce(
                (SELECT f.name FROM features f WHERE f.dataset_id = r.dataset_id AND f.position = p.position),
                'bias'
            )
        ) OR (SELECT count(*) FROM parameters p WHERE p.run_id = r.id)
            <> 1 + (SELECT count(*) FROM features f WHERE f.dataset_id = r.dataset_id)
        ORDER BY r.id
        """
    )
    if found := differing.first():
        raise StoreError(
            f"schema 0003 knows only linear regressions, and the parameters of run {found[0]} are not its "
            "features and bias; nothing was changed"
        )
