"""Any table, written in any format, gives the same float32 dataset, whoever reads it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from job.data import table as tables
from job.data.dataset import Dataset, split
from job.data.layout import find_layout
from job.data.reading import Reading, joined, listed
from job.data.table import read_table
from job.errors import DataError
from tests.samples import table_of
from tests.tables import Form

NUMBERS = (
    st.floats(-1e6, 1e6)
    | st.integers(-99, 99).map(float)
    | st.floats(width=32, allow_nan=False).map(lambda value: max(min(value, 1e30), -1e30))
)
NAMES = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12)
"""of columns"""


@st.composite
def forms(draw: st.DrawFn) -> Form:
    """A format in which numbers can be told apart."""
    delimiter, decimal = draw(
        st.sampled_from([pair for pair in product(",;\t| ", ".,") if pair[0] != pair[1]])
    )
    quoted = draw(st.booleans())
    return Form(
        delimiter,
        decimal,
        quoted=quoted,
        index=delimiter != " " and draw(st.booleans()),
        end=draw(st.sampled_from(["\n", "\r\n"])),
        comma_at_end=delimiter != " " and draw(st.booleans()),
        aligned=not quoted and draw(st.booleans()),
    )


def written(text: str, suffix: str = ".csv") -> Path:
    """A file in a directory of its own, which hypothesis makes many of."""
    directory = Path(tempfile.mkdtemp(prefix="ledger-table-"))
    (path := directory / f"made{suffix}").write_bytes(text.encode())
    return path


def removed(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


def dataset_of(values: Sequence[Sequence[float]], names: Sequence[str]) -> Dataset:
    """The dataset of numbers that are in no file."""
    return split(table_of(np.array(values), names))


@pytest.mark.slow
@settings(max_examples=150)
@given(forms(), st.data())
def test_a_table_in_any_format_gives_its_dataset(form: Form, data: st.DataObject) -> None:
    columns, rows = data.draw(st.integers(2, 6)), data.draw(st.integers(5, 30))
    seed = data.draw(st.integers(0, 2**32 - 1))
    scale = data.draw(st.sampled_from([1e-20, 1.0, 1e6, 1e25]))
    values = np.random.RandomState(seed).randn(rows, columns) * scale
    names = [f"c{i}" for i in range(columns)]
    path = written(form.write(names, values.tolist()), data.draw(st.sampled_from([".csv", ".txt", ".data"])))
    try:
        found, expected = split(read_table(path)), dataset_of(values.tolist(), names)
    finally:
        removed(path)
    assert found.features == expected.features
    for name in ("train_x", "train_y", "test_x", "test_y", "minimum", "maximum", "mean"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name


@pytest.mark.slow
@settings(max_examples=100)
@given(forms(), st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=2, max_size=12))
@example(Form(";", ","), [[0.1, 1e22, 5e-324], [2.0, 3.0, 4.0]])
def test_pandas_and_the_reader_of_rows_read_the_same_bits(form: Form, rows: list[list[float]]) -> None:
    path = written(form.write(rows=rows))
    with pytest.MonkeyPatch.context() as patch:
        try:
            by_rows = read_table(path, Reading(delimiter=form.delimiter, decimal=form.decimal)).values
            patch.setattr(tables, "FOR_PANDAS", 0)
            patch.setattr(tables, "CHUNK", 12)
            patch.setattr(tables, "scan", None)  # pandas needs no help
            by_pandas = read_table(path, Reading(delimiter=form.delimiter, decimal=form.decimal)).values
        finally:
            removed(path)
    assert by_rows.tolist() == rows
    assert by_pandas.tobytes("F") == by_rows.tobytes("F")


BAD = ["x", "", "NA", "nan", "inf", "1_0", "٣", "1,5", "2020-01-01", "0x1", "1e999", "True"]


@pytest.mark.slow
@settings(max_examples=100)
@given(st.sampled_from(BAD), st.integers(0, 29), st.integers(0, 2), st.sampled_from(",;\t"))
def test_pandas_takes_no_cell_that_the_reader_of_rows_refuses(
    cell: str, row: int, column: int, delimiter: str
) -> None:
    cells = [[str(i + j / 4) for j in range(3)] for i in range(30)]
    cells[row][column] = f'"{cell}"'
    path = written("\n".join(delimiter.join(line) for line in [["a", "b", "y"], *cells]) + "\n")
    said = []
    with pytest.MonkeyPatch.context() as patch:
        for size in (10**9, 0):
            patch.setattr(tables, "FOR_PANDAS", size)
            with pytest.raises(DataError) as refusal:
                read_table(path)
            said.append(str(refusal.value))
    removed(path)
    assert said[0] == said[1]
    assert f"column {column + 1} ({'aby'[column]})" in said[0]
    assert f"line {row + 2}" in said[0]


@pytest.mark.thorough
@settings(max_examples=60)
@given(st.sampled_from(["a,b", "1,2,3,4", "1,2"]), st.integers(1, 29))
def test_pandas_takes_no_row_of_another_width(line: str, row: int) -> None:
    lines = ["a,b,y", *(f"{i},{i * i},{i % 7}" for i in range(30))]
    lines.insert(row, line)
    path = written("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "FOR_PANDAS", 0)
        with pytest.raises(DataError, match=f"line {row + 1}: . values?, but the table has 3 columns"):
            read_table(path)
    removed(path)


@pytest.mark.thorough
@settings(max_examples=200)
@given(st.lists(NAMES.map(str.strip).filter(bool), min_size=1, max_size=5, unique=True))
def test_names_are_written_and_read_as_one_word(names: list[str]) -> None:
    assert listed(joined(tuple(names))) == tuple(names)


READINGS = st.builds(
    Reading,
    delimiter=st.sampled_from([None, ",", "\t", " ", ":"]),
    decimal=st.sampled_from([None, ".", ","]),
    thousands=st.sampled_from([None, "'", " "]),
    header=st.booleans(),
    features=st.lists(NAMES.map(lambda name: "f" + name.strip()), max_size=3, unique=True).map(tuple),
    drop=st.lists(NAMES.map(lambda name: "d" + name.strip()), max_size=3, unique=True).map(tuple),
    missing=st.sampled_from([None, "drop", "mean"]),
    constant=st.sampled_from([None, "drop"]),
    test_share=st.floats(0.01, 0.99),
    shuffle=st.none() | st.integers(0, 2**32 - 1),
)


@pytest.mark.thorough
@given(READINGS)
def test_stored_options_are_read_back(reading: Reading) -> None:
    assert Reading.of(reading.stored) == reading
    assert (reading.stored == "{}") == (reading == Reading())


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.binary(max_size=200)
    | st.text(st.sampled_from("0123456789.,;\t |ab\"'\n#-"), max_size=200).map(str.encode)
)
def test_no_file_is_answered_by_anything_but_a_table_or_one_line(content: bytes) -> None:
    path = written("")
    path.write_bytes(content)
    said = ""
    try:
        read_table(path)
    except DataError as refusal:
        said = str(refusal)
    finally:
        removed(path)
    assert "\n" not in said
    assert said == "" or said.startswith(f"{path}: ")


@pytest.mark.slow
def test_the_layout_of_a_long_file_is_found_in_its_first_lines() -> None:
    text = Form(";", ",").write(rows=[(i + 0.5, i * 2.5, -i) for i in range(300_000)])
    assert len(text) > 4_000_000
    layout = find_layout(text.encode(), Reading())
    assert (layout.delimiter, layout.decimal, layout.names) == (";", ",", ("a", "b", "y"))
