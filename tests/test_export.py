"""An exported history loads back equal."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from db.history import History
from db.store import Store
from job.cli import run
from tests.samples import dataset_row, history

Output = pytest.CaptureFixture[str]


@pytest.fixture
def filled(store: Store) -> Store:
    writer = store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={})
    for model, own in made().items():
        writer.append(model, own)
    store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={})
    return store


def made() -> dict[str, History]:
    """Histories with numbers that are hard to write.

    The shortest decimal of 0x15AE43FD, read as a double and rounded, is another float32.
    """
    hard = history(5)
    famous = np.array([0x15AE43FD], np.uint32).view(np.float32)[0]
    assert np.float32(float(str(famous))) != famous
    hard.parameters[2, :-1] = famous, -0.0, 16777216.0
    hard.train_loss[3] = hard.parameters[3, -1] = famous
    return {"paddle": hard, "python": history(4, seed=1)}


def export(store: Store, *words: str) -> int:
    url = store.url.render_as_string(hide_password=False)
    return run(["export", *words, "--database-url", url])


def test_csv_and_parquet_load_back_equal(filled: Store, tmp_path: Path, capsys: Output) -> None:
    assert export(filled, "1", "--format", "csv,parquet", "-o", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out.split() == [f"{tmp_path}/out/run-1.csv", f"{tmp_path}/out/run-1.parquet"]
    for table in (pd.read_csv(tmp_path / "out/run-1.csv"), pd.read_parquet(tmp_path / "out/run-1.parquet")):
        assert len(table) == 9
        assert table.columns.tolist() == [
            *("model", "epoch", "train_loss", "test_loss"),
            *("weight_x0", "weight_x1", "weight_x2", "bias", "trained_at"),
        ]
        for model, own in made().items():
            part = table[table.model == model]
            loaded = History(
                epoch=part.epoch.to_numpy(),
                train_loss=part.train_loss.to_numpy(np.float32),
                test_loss=part.test_loss.to_numpy(np.float32),
                parameters=np.ascontiguousarray(
                    part[["weight_x0", "weight_x1", "weight_x2", "bias"]], np.float32
                ),
                trained_at=part.trained_at.to_numpy(),
            )
            assert loaded.same_bits(own)
            assert loaded.trained_at.tolist() == own.trained_at.tolist()


def test_parquet_keeps_the_types(filled: Store, tmp_path: Path) -> None:
    assert export(filled, "1", "--format", "parquet", "-o", str(tmp_path)) == 0
    table = pd.read_parquet(tmp_path / "run-1.parquet")
    assert {table[name].dtype for name in ("train_loss", "weight_x0", "bias")} == {np.dtype(np.float32)}
    assert table.epoch.dtype == np.int64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("2",), "run 2 has no epochs yet, so there is nothing to export"),
        (("1", "--format", "xlsx"), "'xlsx' is no format; there are csv, parquet"),
        (("1", "--format", ","), "name at least one format of csv, parquet"),
        (("1", "-o", "there/is/a/file"), "there/is/a/file/run-1.csv: cannot be written"),
    ],
)
def test_wrong_use_is_one_line(filled: Store, capsys: Output, words: tuple[str, ...], message: str) -> None:
    Path("there/is/a").mkdir(parents=True)
    Path("there/is/a/file").touch()
    assert export(filled, *words) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_parquet_without_pyarrow_names_the_extra_and_writes_nothing(
    filled: Store, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert export(filled, "1", "--format", "csv,parquet", "-o", str(tmp_path)) == 2
    assert "pip install 'epoch-ledger[parquet]'" in capsys.readouterr().err
    assert not list(tmp_path.glob("run-*"))
