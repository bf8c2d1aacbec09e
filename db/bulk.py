"""Writes a block of epochs in one go: the way that costs the trainer least on each database."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from db.history import History
from db.types import pack_weights

COLUMNS = ("run_id", "model", "epoch", "train_loss", "test_loss", "weights", "bias", "trained_at")


def insert_epochs(connection: Connection, run_id: int, model: str, history: History) -> None:
    """Insert all epochs of `history`, inside the connection's transaction.

    SQLite gets one executemany of the driver's, PostgreSQL one COPY: measured, a quarter and three fifths
    cheaper than SQLAlchemy's bulk insert of the same rows.
    """
    values = (
        history.epoch.tolist(),
        history.train_loss.tolist(),
        history.test_loss.tolist(),
        pack_weights(history.weights),
        history.bias.tolist(),
        history.trained_at.tolist(),
    )
    columns = ", ".join(COLUMNS)
    if connection.dialect.name == "sqlite":
        rows = [(run_id, model, *row) for row in zip(*values, strict=True)]
        connection.exec_driver_sql(f"INSERT INTO epochs ({columns}) VALUES (?,?,?,?,?,?,?,?)", rows)  # noqa: S608
        return
    import psycopg  # not for readers, nor for SQLite

    # PostgreSQL writes an array in braces; its numbers read the same as JSON's, float32 from the text.
    lines = "".join(
        f"{run_id}\t{model}\t{epoch}\t{train!r}\t{test!r}\t{{{weights[1:-1]}}}\t{bias!r}\t{moment!r}\n"
        for epoch, train, test, weights, bias, moment in zip(*values, strict=True)
    )
    driver = connection.connection.driver_connection
    assert driver is not None
    statement = f"COPY epochs ({columns}) FROM STDIN"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(lines)
    except psycopg.Error as error:  # SQLAlchemy does not see what goes through the driver's own cursor
        raise DBAPIError(statement, None, error, connection_invalidated=driver.closed) from error
