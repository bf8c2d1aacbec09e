"""A bad data file ends with one line that names file, line and column."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from job.data.dataset import DEFAULT_DATA
from job.data.table import HOUSING_COLUMNS, read_table
from job.errors import DataError

CSV = "a,b,y\n1,2,3\n4,5,6\n"
HOUSING = DEFAULT_DATA.read_text()


def test_the_housing_table_is_read_as_numpy_reads_it() -> None:
    table = read_table(DEFAULT_DATA)
    assert table.columns == HOUSING_COLUMNS
    assert np.array_equal(table.values, np.loadtxt(DEFAULT_DATA))
    assert table.sha256 == hashlib.sha256(DEFAULT_DATA.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        CSV.replace("\n", "\r\n"),
        "\ufeff" + CSV,
        CSV.rstrip(),
        "\n\n" + CSV + "\n\n",
        'a,"b",y\n"1",2,3\n4,5,6\n',
        "a , b, y\n 1, 2,3\n4,5 ,6\n",
        "a,b,y\n1e0,+2,3.\n4,5,6\n",
    ],
    ids=["plain", "crlf", "bom", "no-last-newline", "blank-lines", "quotes", "spaces", "number-forms"],
)
def test_csv_is_read_in_the_forms_that_people_save(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "made.csv").write_bytes(text.encode())
    table = read_table(path)
    assert table.columns == ("a", "b", "y")
    assert table.values.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b",,\n,,\n", "line 1: nothing but empty columns"),
        (b'a,"b\nc",y\n1,2,3\n', "has a line break or the like"),
        ("a,b\u2028b,y\n1,2,3\n".encode(), "has a line break or the like"),
        (b"a,b,y\n1,2,x\n", "line 2, column 3 (y): 'x' is not a number"),
        (b"a,b,y\n1,2,3\n4,nan,6\n", "line 3, column 2 (b): 'nan' is not a finite number"),
        (b"a,b,y\n-inf,2,3\n", "line 2, column 1 (a): '-inf' is not a finite number"),
        (b"a,b,y\n1e999,2,3\n", "line 2, column 1 (a): '1e999' is not a finite number"),
        (b"a,b,y\n1_0,2,3\n", "line 2, column 1 (a): '1_0' is not a number"),
        ("a,b,y\n٣,2,3\n".encode(), "line 2, column 1 (a): '٣' is not a number"),
        (b"a,b,y\n1,,3\n", "line 2, column 2 (b): the value is missing"),
        (b"a,b,y\n1,2\n", "line 2: 2 values, but the table has 3 columns"),
        (b"a,b,y\n\n1,2,3,4\n", "line 3: 4 values, but the table has 3 columns"),
        (b"a,b,a\n1,2,3\n", "line 1, columns 1 and 3: both are named 'a'"),
        (b"a,,y\n1,2,3\n", "line 1, column 2: the column has no name"),
        (b"1,2,3\n4,5,6\n", "line 1, column 1: '1' is a number, but the first line"),
        (b"a,bias,y\n1,2,3\n", "line 1, column 2: 'bias' is the name"),
        (b'a,b,y\n1,"2,3\n', "not readable as CSV"),
        (b"a,b,y\n1,2,3\n\xff,5,6\n", "line 3, byte 1: not UTF-8 text"),
        ("a,b,y\n1,2,3\n".encode("utf-16"), "line 1, byte 1: not UTF-8 text"),
        (b"a,b,y\n1,\x00,3\n", "line 2: a binary file"),
    ],
)
def test_a_bad_csv_is_refused_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    (path := tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(DataError) as refusal:
        read_table(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("18.00", "", "line 1: 13 values, but the table has 14 columns"),
        ("18.00", "18.00 1", "line 1: 15 values, but the table has 14 columns"),
        ("18.00", "?", "line 1, column 2 (ZN): '?' is not a number"),
        ("9.14  21.60", "9.14  inf", "line 2, column 14 (MEDV): 'inf' is not a finite number"),
    ],
)
def test_a_bad_housing_table_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    (path := tmp_path / "bad.data").write_text(HOUSING.replace(old, new, 1))
    with pytest.raises(DataError, match=r"bad\.data: ") as refusal:
        read_table(path)
    assert message in str(refusal.value)


@pytest.mark.parametrize(("name", "message"), [("none.csv", "no such file"), (".", "a directory")])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


def test_what_is_read_from_a_pipe_is_known_by_its_own_bytes(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe.csv")
    writer = threading.Thread(target=pipe.write_text, args=(CSV,))
    writer.start()
    table = read_table(pipe)
    writer.join()
    assert table.sha256 == hashlib.sha256(CSV.encode()).hexdigest()


def test_a_file_whose_name_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.csv")
    (tmp_path / name).write_text(CSV)
    with pytest.raises(DataError, match="rename it"):
        read_table(tmp_path / name)
