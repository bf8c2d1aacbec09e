"""Migrations upgrade every released store and downgrade it again, and keep its data."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.script import ScriptDirectory
from pytest_alembic import tests as alembic_tests
from pytest_alembic.config import Config
from pytest_alembic.runner import MigrationContext, runner
from sqlalchemy import Engine, inspect, make_url, text

from db.digest import extend, start
from db.engine import create_store_engine, parse_url
from db.errors import StoreError
from db.integrity import first_fault
from db.migrate import config, differences, downgrade, upgrade
from db.model_source import ModelSource
from db.schema import VerdictRow
from db.store import Store
from db.version import HEAD, current
from job.cli import run
from tests.faults import child, ended
from tests.golden.make import fill
from tests.samples import dataset_row, history

HERE = Path(__file__).parent
REVISIONS = [script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()][::-1]
TABLES = ("datasets", "features", "runs", "epochs", "verdicts")


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    made = create_store_engine(parse_url(empty_url))
    yield made
    made.dispose()


@pytest.fixture
def alembic_runner(engine: Engine) -> Iterator[MigrationContext]:
    with engine.connect() as connection, runner(Config(alembic_config=config()), connection) as made:
        yield made


@pytest.mark.parametrize(
    "check",
    [
        alembic_tests.test_single_head_revision,
        alembic_tests.test_upgrade,
        alembic_tests.test_model_definitions_match_ddl,
        alembic_tests.test_up_down_consistency,
    ],
)
def test_what_pytest_alembic_checks(check: Any, alembic_runner: MigrationContext) -> None:
    check(alembic_runner)


def test_the_code_knows_its_newest_revision() -> None:
    assert REVISIONS[-1] == HEAD
    assert sorted(REVISIONS) == REVISIONS


def test_the_schema_is_what_the_models_say(engine: Engine) -> None:
    upgrade(engine)
    with engine.connect() as connection:
        assert differences(connection) == []


def test_every_released_revision_has_its_golden_stores() -> None:
    for revision in REVISIONS:
        assert (HERE / "golden" / f"{revision}.sqlite").exists()
        assert (HERE / "golden" / f"{revision}.postgresql.sql").exists()


def load_golden(revision: str, url: str) -> None:
    if url.startswith("sqlite"):
        shutil.copy(HERE / "golden" / f"{revision}.sqlite", str(make_url(url).database))
        return
    made = create_store_engine(parse_url(url))
    with made.begin() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute((HERE / "golden" / f"{revision}.postgresql.sql").read_text())
    made.dispose()


def rows(engine: Engine, columns: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {
            table: sorted(
                (tuple(row) for row in connection.exec_driver_sql(f"SELECT {', '.join(names)} FROM {table}")),
                key=repr,
            )
            for table, names in columns.items()
        }


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_computes_the_digests_that_a_released_store_lacks(
    revision: str, empty_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.integrity.BLOCK_EPOCHS", 2)  # its models have 5, 4 and 2 epochs
    load_golden(revision, empty_url)
    for again in (False, True):
        assert run(["db", "upgrade", "--database-url", empty_url]) == 0
        said = "whose digests are computed now: 2" in capsys.readouterr().out
        assert said is (revision < "0005" and not again)
        with Store(empty_url) as store:
            assert [first_fault(store, store.run(each.id)) for each in store.runs()] == [None] * 3
            expected = extend(start(store.run(1).parameter_names), history(5)).hex()
            assert [model.digest for model in store.run(1).models] == [expected] * 2
            assert [model.digest for model in store.run(2).models] == [None] * 2


def test_an_upgrade_names_a_run_whose_digests_cannot_be_computed(
    empty_url: str, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    load_golden("0004", empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM epochs WHERE run_id = 2 AND model = 'paddle' AND epoch = 1")
    assert run(["db", "upgrade", "--database-url", empty_url]) == 0
    said = capsys.readouterr()
    assert said.err == "job: run 2 gets no digest: paddle, epochs 0 to 3: epoch 1 is missing\n"
    assert "whose digests are computed now: 1" in said.out
    with Store(empty_url) as store:
        assert first_fault(store, store.run(1)) is None
        fault = first_fault(store, store.run(2))
        assert fault is not None
        assert fault.detail == "paddle, epochs 0 to 3: epoch 1 is missing"


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_released_store_is_lifted_and_brought_down_with_its_data(
    revision: str, empty_url: str, engine: Engine
) -> None:
    load_golden(revision, empty_url)
    tables = [table for table in (*TABLES, "nights", "scheduled_runs") if inspect(engine).has_table(table)]
    columns = {table: [c["name"] for c in inspect(engine).get_columns(table)] for table in tables}
    before = rows(engine, columns)
    assert [len(before[table]) for table in TABLES] == [1, 3, 3, 16, 1]

    upgrade(engine)
    lifted = dict(columns) | {
        "epochs": [name for name in columns["epochs"] if name not in ("weights", "bias")]
    }
    if "nights" in lifted:
        lifted["scheduled_runs"] = lifted.pop("nights")
    same = [columns["epochs"].index(name) for name in lifted["epochs"]]
    expected = {table.replace("nights", "scheduled_runs"): kept for table, kept in before.items()}
    expected["epochs"] = sorted((tuple(row[i] for i in same) for row in before["epochs"]), key=repr)
    assert rows(engine, lifted) == expected
    with Store(empty_url) as store:
        assert store.run(1).dataset.features[2].name == "x2"
        assert store.history(1, "paddle").same_bits(history(5))
        assert store.history(2, "python").same_bits(history(5)[:2])
        assert store.run(2).parameter_names == ["x0", "x1", "x2", "bias"]
        for each in store.runs():
            sources = [(row.position, row.name, row.source, row.source_sha256) for row in each.models]
            assert sources == [(0, "paddle", "paddle", None), (1, "python", "python", None)]
        (verdict,) = store.verdicts(1)
        assert (verdict.detail, verdict.model, verdict.against_model) == ("golden", "python", "paddle")
        store.resume_run(2, environment={}).finish("interrupted", "on purpose")
    if revision == HEAD:
        downgrade(engine, "base")
    else:
        downgrade(engine, revision)
        after = rows(engine, columns)
        assert {table: after[table] for table in after if table != "runs"} == {
            table: before[table] for table in before if table != "runs"
        }
        upgrade(engine)
        with Store(empty_url) as store:
            assert store.history(1, "paddle").same_bits(history(5))
        downgrade(engine, "base")
    with engine.connect() as connection:
        assert current(connection) is None
    assert not {*TABLES, "nights", "scheduled_runs"} & set(inspect(engine).get_table_names())


def test_an_older_schema_keeps_the_verdicts_of_the_kinds_that_it_has(empty_url: str, engine: Engine) -> None:
    fill(empty_url)
    kinds = ("drift", "integrity", "exact", "audit", "baseline")
    with Store(empty_url) as store:
        for kind in kinds:
            store.add_verdict(VerdictRow(run_id=1, kind=kind, passed=True, tolerance=0, detail=kind))
    later = {*kinds[1:]}
    for revision, gone in (("0007", set()), ("0006", {"baseline"}), ("0004", later), ("0003", later)):
        downgrade(engine, revision)
        found = [kind for (kind,) in rows(engine, {"verdicts": ["kind"]})["verdicts"]]
        assert found == sorted({"parity", *kinds} - gone), revision


def test_a_downsampled_run_is_asked_for_no_digest_that_cannot_be_computed(
    empty_url: str, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    load_golden("0004", empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET thinned_every = 2 WHERE id = 1")
        connection.exec_driver_sql("UPDATE runs SET pruning = 'delete' WHERE id = 2")
        connection.exec_driver_sql("DELETE FROM epochs WHERE epoch = 1")
    assert run(["db", "upgrade", "--database-url", empty_url]) == 0
    said = capsys.readouterr()
    assert (said.err, "digests" in said.out) == ("", False)


FAMOUS = float(np.uint32(0x15AE43FD).view(np.float32))
"""its shortest decimal, read as a double and rounded to float32, is its neighbour"""


@pytest.mark.parametrize("bias", [-0.0, 0.0, FAMOUS, -1e-45, 3.4028234663852886e38, 16777216.0, 0.1, 1e-9])
def test_every_old_bias_keeps_its_bits_up_and_down(bias: float, empty_url: str, engine: Engine) -> None:
    bias = float(np.float32(bias))
    load_golden("0003", empty_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE epochs SET bias = :bias"), {"bias": bias})
    upgrade(engine)
    with Store(empty_url) as store:
        found = store.history(1, "paddle")
        expected = history(5)
        expected.parameters[:, -1] = bias
        assert found.same_bits(expected)
    downgrade(engine, "0003")
    with engine.connect() as connection:
        for (stored,) in connection.execute(text("SELECT bias FROM epochs")):
            assert struct.pack("d", stored) == struct.pack("d", bias)


def test_a_model_that_was_added_to_the_old_code_is_lifted_with_its_epochs(
    empty_url: str, engine: Engine
) -> None:
    load_golden("0003", empty_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE epochs SET model = 'torch' WHERE run_id = 2 AND model = 'python'"))
    upgrade(engine)
    with Store(empty_url) as store:
        assert [row.name for row in store.run(2).models] == ["paddle", "python", "torch"]
        assert store.progress(2) == {"paddle": 4, "torch": 2}
        assert store.history(2, "torch").same_bits(history(5)[:2])
    with pytest.raises(StoreError, match="knows only the models paddle and python, and run 2 has torch"):
        downgrade(engine, "0003")


OTHER = ModelSource("mine", "mine.py:Mine", "0" * 64)


@pytest.mark.parametrize(
    ("models", "parameters", "why"),
    [
        ([OTHER], None, "knows only the models paddle and python, and run 4 has mine"),
        ([ModelSource("python", "own.py:X", "1" * 64)], None, "the models paddle and python, and run 4 has"),
        (None, ["x0", "x1", "x2"], "the parameters of run 4 are not its features and bias"),
        (None, ["x0", "x1", "x2", "bias", "more"], "the parameters of run 4 are not its features and bias"),
        (None, ["x1", "x0", "x2", "bias"], "the parameters of run 4 are not its features and bias"),
    ],
)
def test_a_run_that_the_old_schema_cannot_hold_keeps_the_store_where_it_is(
    models: list[ModelSource] | None, parameters: list[str] | None, why: str, empty_url: str, engine: Engine
) -> None:
    fill(empty_url)
    with Store(empty_url) as store:
        more: dict[str, Any] = {"parameters": parameters} | ({"models": models} if models else {})
        store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={}, **more)
    with pytest.raises(StoreError, match=f"{why}.*; nothing was changed"):
        downgrade(engine, "0003")
    with Store(empty_url) as store:
        assert store.history(1, "paddle").same_bits(history(5))
        assert store.progress(2) == {"paddle": 4, "python": 2}


@pytest.mark.parametrize(
    ("mark", "pruning", "thinned_every"),
    [(None, None, None), (10, None, 10), (2**31 - 1, "delete", None), (2**31 - 1 - 100, "thin", 100)],
)
def test_what_pruning_was_doing_is_lifted_into_a_column_of_its_own(
    engine: Engine, mark: int | None, pruning: str | None, thinned_every: int | None, empty_url: str
) -> None:
    load_golden("0002", empty_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET thinned_every = :mark WHERE id = 1"), {"mark": mark})
    upgrade(engine)
    found = text("SELECT pruning, thinned_every FROM runs WHERE id = 1")
    with engine.connect() as connection:
        assert tuple(connection.execute(found).one()) == (pruning, thinned_every)
    downgrade(engine, "0002")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT thinned_every FROM runs WHERE id = 1")).scalar() == mark


def test_a_migration_that_fails_leaves_everything_as_it_was(
    empty_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    def breaks(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(op, "create_index", breaks)
    with pytest.raises(RuntimeError, match="in the middle"):
        upgrade(engine)
    assert inspect(engine).get_table_names() == []
    monkeypatch.undo()
    upgrade(engine)
    assert set(TABLES) <= set(inspect(engine).get_table_names())


@pytest.mark.parametrize("backend", ["sqlite"])  # PostgreSQL never accepts such rows
def test_a_migration_that_would_leave_rows_that_refer_to_nothing_is_refused(
    empty_url: str, engine: Engine
) -> None:
    load_golden(REVISIONS[0], empty_url)
    with sqlite3.connect(str(make_url(empty_url).database)) as connection:
        connection.execute("DELETE FROM features WHERE dataset_id = 1")
        connection.execute("DELETE FROM datasets")  # foreign keys are off: the runs stay
    connection.close()
    with pytest.raises(StoreError, match="rows that refer to nothing; nothing was changed"):
        upgrade(engine)
    with engine.connect() as opened:
        assert current(opened) == REVISIONS[0]
        assert opened.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


@pytest.mark.process
def test_processes_that_lift_one_store_at_once_lift_it_once(empty_url: str) -> None:
    children = [child(lambda: Store(empty_url, create=True).close()) for _ in range(4)]
    assert [ended(each) for each in children] == [0] * 4
    with Store(empty_url) as store:
        assert store.runs() == []


SNAPSHOT = {
    "sqlite": [
        """SELECT sql || ';' FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'sqlite_sequence'
           ORDER BY name"""
    ],
    "postgresql": [
        """SELECT format('%s.%s %s%s', table_name, column_name, data_type,
               CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END)
           FROM information_schema.columns WHERE table_schema = 'public'
           ORDER BY table_name, ordinal_position""",
        """SELECT format('%s: %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
           WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY conname""",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
        """SELECT format('%s:%s', viewname, definition) FROM pg_views WHERE schemaname = 'public'
           ORDER BY viewname""",
    ],
}


def test_the_whole_schema_is_the_one_on_record(database_url: str, backend: str) -> None:
    """A change to the public schema must be intended: LEDGER_UPDATE_SNAPSHOTS=1 records it."""
    engine = create_store_engine(parse_url(database_url))
    with engine.connect() as connection:
        found = [row[0] for query in SNAPSHOT[backend] for row in connection.execute(text(query))]
    engine.dispose()
    schema = "\n".join(line.rstrip() for item in found for line in item.splitlines()) + "\n"
    record = HERE / "snapshots" / f"{backend}.sql"
    if os.environ.get("LEDGER_UPDATE_SNAPSHOTS"):
        record.write_text(schema)
    assert schema == record.read_text()
