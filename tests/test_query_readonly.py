"""No query that would change anything succeeds, and the database itself enforces it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from db.backends.postgresql_query import READER
from db.errors import QueryError, QueryStoppedError
from db.query import run_query
from db.store import Store
from tests.conftest import administer
from tests.samples import dataset_row, history

FOREVER = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
NEW_DATASET = (
    "INSERT INTO datasets (name, sha256, target, train_rows, test_rows, target_minimum, target_maximum, "
    "target_mean) VALUES ('a', 'b', 'c', 1, 1, 0, 1, 0)"
)


def fill(store: Store) -> None:
    writer = store.start_run(dataset_row(), epochs=2, learning_rate=0.1, seed=0, environment={"a": 1})
    for model in ("paddle", "python"):
        writer.append(model, history(2))


def change(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def content(store: Store) -> list[Any]:
    tables = ("datasets", "features", "runs", "epochs", "verdicts")
    everything = (f"SELECT * FROM {table} ORDER BY 1, 2, 3" for table in tables)
    with store.engine.connect() as connection:
        return [connection.exec_driver_sql(query).all() for query in everything]


@pytest.fixture
def filled(store: Store) -> Iterator[Store]:
    """A store that must be the same after the test."""
    fill(store)
    before = content(store)
    yield store
    assert content(store) == before


NOT_ONE_QUERY = [
    "SELECT 1; SELECT 2",
    "SELECT 1; DELETE FROM epochs",
    "DELETE FROM epochs",
    "DELETE FROM epochs RETURNING epoch",
    "UPDATE runs SET seed = 7 RETURNING seed",
    f"{NEW_DATASET} RETURNING id",
    f"WITH new AS ({NEW_DATASET} RETURNING id) SELECT * FROM new",
    "DROP TABLE epochs",
    "CREATE TABLE mine (a int)",
    "CREATE TEMP TABLE mine (a int)",
    "CREATE TABLE mine AS SELECT * FROM runs",
    "SELECT * INTO mine FROM runs",
    "BEGIN",
    "COMMIT",
    "VACUUM",
    "",
    "-- nothing",
    "SELECT 1) OR EXISTS (SELECT 2",
]
ON_SQLITE = [
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7",
    "SELECT * FROM pragma_journal_mode('delete')",
    "ATTACH '{there}' AS other",
    "VACUUM INTO '{there}'",
    "SELECT load_extension('{there}')",
    "SELECT zeroblob(100000000)",
    "DETACH main",
    "SAVEPOINT a",
    "REINDEX",
    "ANALYZE",
]
ON_POSTGRESQL = [
    "SET TRANSACTION READ WRITE",
    "RESET ROLE",
    "RESET SESSION AUTHORIZATION",
    "COPY runs TO PROGRAM 'touch {there}'",
    "COPY runs TO '{there}'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_export(1, '{there}')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT nextval('runs_id_seq')",
    "SELECT setval('runs_id_seq', 99)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_advisory_xact_lock(hashtext('epoch-ledger'))",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity",
    "SELECT pg_reload_conf()",
    "SELECT pg_notify('a', 'b')",
    "SELECT set_config('role', 'none', true)",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT query_to_xml('DELETE FROM epochs', true, true, '')",
    "SELECT * FROM ts_stat('SELECT 1')",
    "SELECT count(*) FROM runs WHERE pg_advisory_lock(1) IS NULL",
    "SELECT 1 ORDER BY set_config('role', 'none', true)",
    "SELECT (SELECT max(nextval('runs_id_seq')) FROM runs)",
    "WITH a AS MATERIALIZED (SELECT pg_advisory_lock(1)) SELECT 1 FROM a",
    "DO $$ BEGIN DELETE FROM epochs; END $$",
    "SELECT * FROM runs FOR UPDATE",
    "LOCK TABLE runs",
    "EXPLAIN ANALYZE DELETE FROM epochs",
    "DECLARE c CURSOR FOR SELECT 1",
    "PREPARE a AS SELECT 1",
    "LISTEN a",
    "SELECT $1",
    "SELECT rolpassword FROM pg_authid",
]


def gets_through(store: Store, attempts: list[str], there: Path) -> list[str]:
    """The attempts that were not refused."""
    through = []
    for attempt in attempts:
        try:
            run_query(store.url, attempt.format(there=there))
        except QueryError:
            assert not there.exists(), attempt
        else:
            through.append(attempt)
    return through


def test_what_is_not_one_reading_query_is_refused(filled: Store, tmp_path: Path) -> None:
    assert gets_through(filled, NOT_ONE_QUERY, tmp_path / "there") == []


@pytest.mark.parametrize("backend", ["sqlite"])
def test_sqlite_refuses(filled: Store, tmp_path: Path) -> None:
    assert gets_through(filled, ON_SQLITE, tmp_path / "there") == []


@pytest.mark.parametrize("backend", ["postgresql"])
def test_postgresql_refuses_a_superuser(filled: Store, tmp_path: Path) -> None:
    assert gets_through(filled, ON_POSTGRESQL, tmp_path / "there") == []


@pytest.fixture
def owner_url(postgresql_server: str, postgresql_template: str, backend: str) -> Iterator[str]:
    """A filled store whose owner is no superuser and may not create roles; it must stay the same."""
    from tests.conftest import new_database

    for url in new_database(postgresql_server, postgresql_template):
        owner = "ledger_owner_" + url.split("ledger_test_")[1][:12]
        administer(postgresql_server, f"CREATE ROLE {owner} LOGIN PASSWORD 'pass'")
        with Store(url) as store:
            database = store.url.database
            administer(postgresql_server, f'ALTER DATABASE "{database}" OWNER TO {owner}')
            handover = (
                "DO $$ DECLARE each record; BEGIN FOR each IN SELECT oid::regclass AS name FROM pg_class "
                "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') LOOP "
                f"EXECUTE 'ALTER TABLE ' || each.name || ' OWNER TO {owner}'; END LOOP; END $$"
            )
            change(store, handover)
            fill(store)
            mine = store.url.set(username=owner, password="pass").render_as_string(hide_password=False)
            before = content(store)
            yield mine
            assert content(store) == before
        for name in (database, "postgres"):
            with psycopg.connect(postgresql_server, dbname=name, autocommit=True) as connection:
                connection.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER")
                connection.execute(f"DROP OWNED BY {owner}")
        administer(postgresql_server, f"DROP ROLE {owner}")


@pytest.mark.parametrize("backend", ["postgresql"])
def test_postgresql_refuses_an_owner_who_may_make_no_role(owner_url: str, tmp_path: Path) -> None:
    with Store(owner_url) as store:
        role = run_query(store.url, "SELECT current_user::text").rows[0][0]
        assert role.startswith("ledger_owner_")
        assert run_query(store.url, "SELECT count(*) FROM epochs").rows == [(4,)]
        assert gets_through(store, NOT_ONE_QUERY + ON_POSTGRESQL, tmp_path / "there") == []


@pytest.mark.parametrize("backend", ["postgresql"])
def test_postgresql_takes_the_readers_role_for_an_owner_who_is_its_member(
    owner_url: str, postgresql_server: str, store: Store
) -> None:
    run_query(store.url, "SELECT 1")  # a superuser's query creates the role
    with Store(owner_url) as owned:
        administer(postgresql_server, f"GRANT {READER} TO {owned.url.username}")
        assert run_query(owned.url, "SELECT current_user::text, count(*) FROM epochs").rows == [(READER, 4)]


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_function_that_hides_its_side_effects_gains_nothing(filled: Store) -> None:
    """Declared IMMUTABLE, it is called; role, surrounding function and transaction still protect."""
    for body, refusal in (
        ("PERFORM set_config('role', 'none', true)", 'cannot set parameter "role" within security-definer'),
        (
            "PERFORM set_config('session_authorization', session_user, true)",
            'cannot set parameter "session_authorization" within security-definer',
        ),
        ("PERFORM set_config('transaction_read_only', 'off', true)", "must be set before any query"),
        ("RETURN pg_read_file('/etc/passwd')", "permission denied for function pg_read_file"),
        ("DELETE FROM epochs", "DELETE is not allowed in a non-volatile function"),
        ("COPY runs TO PROGRAM 'cat'", "COPY is not allowed in a non-volatile function"),
    ):
        made = (
            "CREATE OR REPLACE FUNCTION liar() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ "
            f"BEGIN {body}; RETURN 'through'; END $$"
        )
        change(filled, made)
        with pytest.raises(QueryError, match=refusal):
            run_query(filled.url, "SELECT liar()")


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_superusers_query_runs_as_the_reader_and_leaves_nothing(filled: Store) -> None:
    who = (
        "SELECT current_user::text, current_setting('transaction_read_only'), current_setting('is_superuser')"
    )
    assert run_query(filled.url, who).rows == [(READER, "on", "off")]
    with filled.engine.connect() as connection:
        assert (
            connection.execute(text("SELECT count(*) FROM pg_proc WHERE proname LIKE 'ledger%'")).scalar()
            == 0
        )
        assert (
            connection.execute(text("SELECT count(*) FROM pg_class WHERE relname = 'ledger_query'")).scalar()
            == 0
        )


def test_a_query_that_takes_too_long_is_stopped(filled: Store) -> None:
    with pytest.raises(QueryStoppedError, match=r"stopped after 0\.2 s; --timeout allows more"):
        run_query(filled.url, FOREVER, timeout=0.2)


def test_reading_goes_on_while_a_run_is_written(filled: Store) -> None:
    def work(session: Any, _: int) -> None:
        session.execute(text("UPDATE runs SET seed = 7"))
        assert run_query(filled.url, "SELECT seed FROM runs").rows == [(0,)]
        session.rollback()

    filled.write(work)


def test_the_elements_of_json_can_be_asked_for_on_sqlite(sqlite_url: str) -> None:
    with Store(sqlite_url, create=True) as store:
        found = run_query(store.url, "SELECT e.value FROM json_each('[1, 2]') e")
        assert found.rows == [(1,), (2,)]
