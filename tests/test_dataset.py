"""The split, the normalisation, and tables that cannot be trained on."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from job.data.dataset import DEFAULT_DATA, load
from job.errors import DataError
from job.verdicts.verify import REFERENCE
from tests.samples import write_csv


def test_the_committed_table_is_the_notebooks() -> None:
    assert hashlib.md5(DEFAULT_DATA.read_bytes()).hexdigest() == "d4accdce7a25600298819f8e28e8d593"


def test_the_first_rows_are_the_ones_that_the_notebook_printed() -> None:
    reference = json.loads(REFERENCE.read_text())
    dataset = load()
    assert (len(dataset.train_x), len(dataset.test_x)) == (reference["train_rows"], reference["test_rows"])
    ours = np.column_stack([dataset.train_x[:3], dataset.train_y[:3]])
    printed = np.array(reference["first_training_rows_normalised"])
    # The notebook printed eight digits; here it is a float32.
    assert (np.abs(ours - printed) <= np.spacing(np.abs(ours)) / 2 + 5e-9).all()


def test_only_training_rows_set_the_statistics() -> None:
    table = np.loadtxt(DEFAULT_DATA)
    train, test = table[:404], table[404:]
    dataset = load()
    expected = (test - train.mean(0)) / np.ptp(train, axis=0)
    assert np.allclose(np.column_stack([dataset.test_x, dataset.test_y]), expected, atol=1e-6)
    assert dataset.train_x.dtype == dataset.train_y.dtype == dataset.test_y.dtype == np.float32
    assert (dataset.minimum == train.min(0)).all()
    assert (dataset.maximum == train.max(0)).all()


def test_the_row_holds_the_statistics_of_the_training_rows() -> None:
    dataset, train = load(), np.loadtxt(DEFAULT_DATA)[:404]
    row = dataset.row()
    assert (row.name, row.target, row.train_rows, row.test_rows) == ("housing.data", "MEDV", 404, 102)
    assert row.sha256 == hashlib.sha256(DEFAULT_DATA.read_bytes()).hexdigest()
    stored: list[object] = [(f.position, f.name, f.minimum, f.maximum, f.mean) for f in row.features]
    names = ("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT")
    lows, highs, means = train.min(0), train.max(0), train.mean(0)
    assert stored == [(i, name, lows[i], highs[i], pytest.approx(means[i])) for i, name in enumerate(names)]
    assert (row.target_minimum, row.target_maximum) == (lows[13], highs[13])
    assert row.target_mean == pytest.approx(means[13])


@pytest.mark.parametrize(("rows", "train"), [(5, 4), (6, 4), (9, 7), (10, 8), (506, 404)])
def test_the_first_four_fifths_are_trained_on_in_file_order(tmp_path: Path, rows: int, train: int) -> None:
    (path := tmp_path / "made.csv").write_text("a,y\n" + "".join(f"{i},{-2 * i}\n" for i in range(rows)))
    dataset = load(path)
    assert (len(dataset.train_x), len(dataset.test_x)) == (train, rows - train)
    every = np.concatenate([dataset.train_x, dataset.test_x])[:, 0]
    expected = (np.arange(rows) - np.arange(train).mean()) / (train - 1)
    assert every == pytest.approx(expected, abs=1e-6)
    assert np.concatenate([dataset.train_y, dataset.test_y])[:, 0] == pytest.approx(-expected, abs=1e-6)
    assert all(
        a.flags.c_contiguous for a in (dataset.train_x, dataset.train_y, dataset.test_x, dataset.test_y)
    )
    assert (dataset.name, dataset.target, dataset.features) == ("made.csv", "y", ("a",))


def test_any_column_can_be_the_target(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "made.csv")
    by_default, chosen = load(path), load(path, "x1")
    assert (by_default.target, by_default.features) == ("y", ("x0", "x1", "x2"))
    assert (chosen.target, chosen.features) == ("x1", ("x0", "x2", "y"))
    assert np.array_equal(chosen.train_y[:, 0], by_default.train_x[:, 1])


FLAT = "in all 4 training rows; its range is zero, so it cannot be normalised"
FAR = "is beyond float32 once normalised"


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("y\n1\n2\n3\n4\n5\n", None, "one column only (y); a feature and a target are needed"),
        ("a,y\n1,2\n2,3\n3,4\n4,6\n", None, "line 5: the table ends after 4 rows; at least 5 are needed"),
        ("a,y\n1,2\n2,3\n3,4\n4,6\n5,5\n", "z", "there is no column 'z'; the columns are a, y"),
        ("a,y\n7,2\n7,3\n7,4\n7,6\n5,5\n", None, f"column 1 (a) is 7 {FLAT}; use --constant drop"),
        (
            "a,y\n1,2\n2,2\n3,2\n4,2\n5,5\n",
            None,
            f"column 2 (y) is 2 {FLAT}; choose another --target, or --shuffle the rows",
        ),
        ("a,y\n1,2\n2,3\n3,4\n4,6\n1e300,5\n", None, f"line 6, column 1 (a): 1e+300 {FAR}; use --drop a"),
        ("a,y\n1,2\n2,3\n3,4\n4,6\n5,1e300\n", None, f"line 6, column 2 (y): 1e+300 {FAR}"),
        ("# by hand\n\na,y\n1,2\n\n2,3\n3,4\n4,6\n5,1e300\n", None, f"line 9, column 2 (y): 1e+300 {FAR}"),
        ("a,y\n1,2\n", None, "line 2: the table ends after 1 row; at least 5 are needed"),
        (
            "a,y\n1e308,2\n-1e308,3\n3,4\n4,6\n5,5\n",
            None,
            "column 1 (a) spans from -1e+308 to 1e+308, more than a double can hold; use --drop a",
        ),
    ],
)
def test_a_table_that_cannot_be_trained_on_is_refused(
    tmp_path: Path, text: str, target: str | None, message: str
) -> None:
    (path := tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError) as refusal:
        load(path, target)
    assert str(refusal.value) == f"{path}: {message}"


def test_a_dataset_from_another_process_is_aligned_and_contiguous_again() -> None:
    """Pickled arrays arrive in buffers that begin anywhere; NumPy sums unaligned ones in another order."""
    whole = load()
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(whole, protocol=5, buffer_callback=buffers.append)
    askew = [memoryview(b"x" + bytes(buffer.raw()))[1:] for buffer in buffers]
    arrived = pickle.loads(text, buffers=askew)
    for name in ("train_x", "train_y", "test_x", "test_y"):
        values = getattr(arrived, name)
        assert values.flags.aligned
        assert values.flags.c_contiguous
        assert values.dtype == np.float32
        assert values.tobytes() == getattr(whole, name).tobytes()
