"""Every command that reads a corrupted value or page prints one line with its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.errors import CorruptedError
from db.store import Store
from job.cli import run
from job.data.dataset import load
from tests.conftest import new_store
from tests.pruning import OLD, made, prune
from tests.samples import execute, history, sqlite_file, write_csv

Output = pytest.CaptureFixture[str]
READERS = [
    *("plot 1", "report 1", "export 1 --as-is", "mirror 1"),
    *("export 1", "resume 1 --data made.csv"),
    "train --resume --data made.csv --epochs 9 --learning-rate 0.1",
]


@pytest.fixture(scope="module")
def template(shared_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a store with two equal, interrupted runs: each model has 6 of 9 epochs."""
    made = load(write_csv(tmp_path_factory.mktemp("data") / "made.csv"))
    with Store(shared_url) as store:
        for _ in range(2):
            writer = store.start_run(made.row(), epochs=9, learning_rate=0.1, seed=0, environment={})
            for model in ("paddle", "python"):
                writer.append(model, history(6))
            writer.finish("interrupted", "stopped by SIGTERM")
    return shared_url


@pytest.fixture
def url(template: str, backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a copy of that store."""
    write_csv(tmp_path / "made.csv")
    yield from new_store(backend, request, tmp_path, template)


def spoil(url: str, column: str, value: str, epoch: int = 5) -> None:
    """Put an SQL value into a column of the Python model of run 1."""
    with Store(url) as store:
        where = f"run_id = 1 AND model = 'python' AND epoch = {epoch}"
        execute(store, f"UPDATE epochs SET {column} = {value} WHERE {where}")


def refusal(line: str, url: str, capsys: Output) -> str:
    """The one line with which a command refuses."""
    assert run([*line.split(), "--database-url", url]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    return said.err


@pytest.mark.parametrize("line", READERS)
def test_a_corrupted_vector_is_named_by_run_model_and_epoch(url: str, capsys: Output, line: str) -> None:
    if line.startswith("train"):  # it resumes the newest
        with Store(url) as store:
            execute(store, "DELETE FROM runs WHERE id = 2")
    spoil(url, "parameters", "'{0.5}'" if url.startswith("postgresql") else "'[0.5, 0.25, 0.'")
    said = refusal(line, url, capsys)
    assert "run 1" in said
    assert "python" in said
    assert "a value in the store is corrupted: epoch 5: " in said
    assert "run 2" not in said


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("parameters", "'[0.5, 0.25]'"),
        ("parameters", "'[[0.5], 0.25, 0.125]'"),
        ("parameters", "x'ff00'"),
        ("parameters", "'\"abc\"'"),
        ("train_loss", "'abc'"),
        ("trained_at", "'abc'"),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("epoch", [0, 3])
def test_every_column_and_place_is_named(
    url: str, capsys: Output, column: str, value: str, epoch: int
) -> None:
    with sqlite_file(url) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(
            f"UPDATE epochs SET {column} = {value} WHERE run_id = 1 AND model = 'python' AND epoch = {epoch}"
        )
    assert run(["verify", "1", "--database-url", url]) == 1
    fault = f"python, epochs 0 to 5: a value in the store is corrupted: epoch {epoch}: "
    assert capsys.readouterr().out.startswith(f"integrity: FAILED: {fault}")
    assert f"run 1, python: a value in the store is corrupted: epoch {epoch}: " in refusal(
        "mirror 1", url, capsys
    )


@pytest.mark.parametrize("line", ["show 1", "runs", "nights"])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_corrupted_moment_or_environment_is_one_line(url: str, capsys: Output, line: str) -> None:
    with Store(url) as store:
        execute(
            store,
            "UPDATE runs SET created_at = 'yesterday' WHERE id = 1",
            "INSERT INTO scheduled_runs (due_at, status, created_at) VALUES ('soon', 'missed', 'yesterday')",
        )
    assert "a value in the store is corrupted: " in refusal(line, url, capsys)


@pytest.mark.parametrize("name", ["losses", "convergence"])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_named_query_names_its_run(url: str, capsys: Output, name: str) -> None:
    zero_a_page(url)
    said = refusal(f"query {name} --run 2", url, capsys)
    assert "run 2: the database refused the query: database disk image is malformed" in said


@pytest.mark.parametrize("line", [*READERS, "verify 1", "compare 1 2", "query parity"])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_page_of_zeros_is_one_line(url: str, capsys: Output, line: str) -> None:
    path = zero_a_page(url)
    assert f"the database file is corrupted: {path}" in refusal(line, url, capsys)


def zero_a_page(url: str) -> Path:
    """Overwrite the first page of the table of epochs; return the file."""
    path = Path(url.removeprefix("sqlite:///"))
    with sqlite_file(url) as connection:
        root, size = connection.execute(
            "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'epochs'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(bytes(size))
    return path


def test_a_run_with_a_corrupted_vector_is_downsampled(migrated_url: str) -> None:
    with Store(migrated_url) as store:
        pruned = made(store, trigger="manual")
        spoil(migrated_url, "parameters", "'[1'")
        prune(store, thin_older_than=OLD / 2, every=10)
        assert (store.run(pruned).thinned_every, store.run(pruned).pruning) == (10, None)


def test_a_run_with_a_corrupted_loss_is_not_half_pruned(migrated_url: str) -> None:
    with Store(migrated_url) as store:
        pruned = made(store, trigger="manual")
        with sqlite_file(migrated_url) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute("UPDATE epochs SET train_loss = 'much' WHERE epoch = 5 AND model = 'python'")
        with pytest.raises(CorruptedError, match="run 1, python: a value in the store is corrupted"):
            prune(store, thin_older_than=OLD / 2, every=10)
        assert store.run(pruned).whole
