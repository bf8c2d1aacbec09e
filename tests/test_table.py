"""A bad data file ends with one line that names file, line and column."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from job.cli import run
from job.data.dataset import DEFAULT_DATA
from job.data.housing import COLUMNS
from job.data.table import read_table
from job.errors import DataError
from tests.conftest import Job
from tests.samples import write_csv

CSV = "a,b,y\n1,2,3\n4,5,6\n"
HOUSING = DEFAULT_DATA.read_text()


def test_the_housing_table_is_read_as_numpy_reads_it() -> None:
    table = read_table(DEFAULT_DATA)
    assert table.columns == COLUMNS
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
        'a, "b",y\n1, "2",3\n4,5,6\n',
        ",,\na,b,y\n1,2,3\n,,\n4,5,6\n",
    ],
    ids=[
        "plain",
        "crlf",
        "bom",
        "no-last-newline",
        "blank-lines",
        "quotes",
        "spaces",
        "number-forms",
        "blank-then-quote",
        "empty-rows",
    ],
)
def test_csv_is_read_in_the_forms_that_people_save(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "made.csv").write_bytes(text.encode())
    table = read_table(path)
    assert table.columns == ("a", "b", "y")
    assert table.values.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("name", "text"),
    [("MADE.CSV", "größe\n1\n2\n"), ("made.csv", "价格\n1\n2\n"), ("made.txt", "x,y\n1,2\n")],
)
def test_csv_is_known_by_its_name_or_by_a_comma(tmp_path: Path, name: str, text: str) -> None:
    (path := tmp_path / name).write_text(text)
    table = read_table(path)
    assert ",".join(table.columns) == text.partition("\n")[0]
    assert table.path == path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b",,\n,,\n", "line 1: nothing but empty columns"),
        (
            "a,b\u200b,y\n1,2,3\n".encode(),
            "has the character '\\u200b' (U+200B ZERO WIDTH SPACE), which cannot",
        ),
        (b"a,b\x07,y\n1,2,3\n", "has the character '\\x07' (U+0007 without a name), which cannot be seen"),
        (b"a,b,y\n1,2,x\n", "line 2, column 3 (y): 'x' is not a number"),
        (b"a,b,y\n1,2,3\n4,nan,6\n", "line 3, column 2 (b): the value is missing (written 'nan'); use"),
        (b"a,b,y\n-inf,2,3\n", "line 2, column 1 (a): '-inf' is not a finite number"),
        (b"a,b,y\n1e999,2,3\n", "line 2, column 1 (a): '1e999' is not a finite number"),
        (b"a,b,y\n1_0,2,3\n", "line 2, column 1 (a): '1_0' is not a number"),
        ("a,b,y\n٣,2,3\n".encode(), "line 2, column 1 (a): '٣' is not a number"),
        (b"a,b,y\n1,,3\n", "line 2, column 2 (b): the value is missing (empty); use --missing mean or"),
        (b"a,b,y\n1,2\n", "line 2: 2 values, but the table has 3 columns"),
        (b"a,b,y\n\n1,2,3,4\n", "line 3: 4 values, but the table has 3 columns"),
        (b"a,b,a\n1,2,3\n", "line 1, columns 1 and 3: both are named 'a'"),
        (b"a,,y\n1,2,3\n", "line 1, column 2: the column has no name"),
        (b"1,2,3\n4,5,6\n", "line 1: the columns have no names; to call them column_1 to column_3, use --no"),
        (b"a,2,y\n1,2,3\n4,5,6\n", "line 1, column 2: '2' is a number, but this line must name the columns"),
        (b"a,bias,y\n1,2,3\n", "line 1, column 2: 'bias' is the name"),
        (
            b'a,b,y\n1,"2,3\n4,5,6\n',
            "line 2: a quote is opened, and not closed up to line 3; correct the line",
        ),
        (b'a,b,y\n1,"2"x,3\n', "line 2: not readable as CSV"),
        (b"a,b,y\n" + b"x" * 41 + b",2,3\n", f"column 1 (a): '{'x' * 40}' is not a number"),
        (b"a,b,y\n" + b"9" * 400 + b",2,3\n", f"column 1 (a): '{'9' * 40}' is not a finite number"),
        (b"a,b,y\n1,2,3\n\xff,5,6\n", "line 3, byte 1: not UTF-8 text"),
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
        (
            "18.00",
            "",
            "line 1: 13 values, but the housing table has 14 columns; for a table of your own without a "
            "line of names, use --no-header",
        ),
        ("18.00", "18.00 1", "line 1: 15 values, but the housing table has 14 columns"),
        ("18.00", "?", "line 1, column 2 (ZN): the value is missing (written '?')"),
        ("18.00", "x", "line 1, column 2 (ZN): 'x' is not a number"),
        ("9.14  21.60", "9.14  inf", "line 2, column 14 (MEDV): 'inf' is not a finite number"),
        (
            "9.14  21.60",
            "9.14  50.1",
            "line 2, column 14: 50.1 cannot be MEDV of the housing table, which is from 0 to 50",
        ),
        ("18.00", "-0.1", "line 1, column 2: -0.1 cannot be ZN of the housing table, which is from 0 to 100"),
        ("2.310", "100.5", "line 1, column 3: 100.5 cannot be INDUS"),
        ("65.20", "100.5", "line 1, column 7: 100.5 cannot be AGE"),
        ("4.98 ", "100.5", "line 1, column 13: 100.5 cannot be LSTAT"),
        (
            "0.00632",
            "-1",
            "line 1, column 1: -1 cannot be CRIM of the housing table, which is from 0; for a table of your",
        ),
        (
            " 0  0.5380",
            "2  0.5380",
            "line 1, column 4: 2 cannot be CHAS of the housing table, which is a whole number from 0",
        ),
        (" 0  0.5380", "0.5  0.5380", "line 1, column 4: 0.5 cannot be CHAS"),
        (
            "  1  296.0",
            "  0  296.0",
            "line 1, column 9: 0 cannot be RAD of the housing table, which is a whole number from 1",
        ),
        ("  1  296.0", "  1.5  296.0", "line 1, column 9: 1.5 cannot be RAD"),
        ("  1  296.0", "  25  296.0", "line 1, column 9: 25 cannot be RAD"),
        (
            "396.90",
            "-0.01",
            "line 1, column 12: -0.01 cannot be B of the housing table, which is from 0 to 396.9",
        ),
        ("24.00", "-1", "line 1, column 14: -1 cannot be MEDV"),
        ("396.90", "396.91", "line 1, column 12: 396.91 cannot be B"),
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


def test_a_pipe_without_a_writer_is_refused_at_once(job: Job, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    done = job("train", "--data", "pipe.csv", timeout=60)
    assert done.returncode == 2
    assert done.stderr == ("job: error: pipe.csv: cannot be read: a pipe or a device, not a regular file\n")
    postgresql = "postgresql://ledger@127.0.0.1:1/x"
    done = job("runs", JOB_DATABASE_URL=postgresql, JOB_DATABASE_PASSWORD_FILE="pipe.csv", timeout=60)
    assert "pipe.csv cannot be read: a pipe or a device, not a regular file" in done.stderr


def test_a_device_is_refused_by_every_option_that_names_a_file(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(data := tmp_path / "made.csv")
    store, device = ("--database-url", sqlite_url), ("--data", "/dev/null")
    assert run(["train", "--epochs", "2", "--data", str(data), *store]) == 0
    for words in (
        ("train", *device, *store),
        ("resume", "1", *device, *store),
        ("nightly", "--once", *device, *store),
        ("nightly", *device, *store),
        ("sweep", *device, *store),
        ("plot", "1", *device, *store),
        ("report", "1", *device, *store),
        ("query", "convergence", *device, *store),
        ("runs", "--database-url", "sqlite:////dev/null"),
        ("train", "--database-url", "sqlite:////dev/null"),
        ("db", "upgrade", "--database-url", "sqlite:////dev/null"),
    ):
        capsys.readouterr()
        assert run(words) == 2, words
        said = capsys.readouterr().err
        assert "/dev/null" in said
        assert "a pipe or a device, not a " in said
        assert said.count("\n") == 1


def test_a_device_in_job_data_is_not_the_data_of_a_run(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(data := tmp_path / "made.csv")
    assert run(["train", "--epochs", "2", "--data", str(data), "--database-url", sqlite_url]) == 0
    data.unlink()
    os.mkfifo(data)
    monkeypatch.setenv("JOB_DATA", "/dev/null")
    assert run(["query", "convergence", "--database-url", sqlite_url]) == 0


def test_more_than_a_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    with (path := tmp_path / "large.csv").open("wb") as file:
        file.truncate(1_200_000_000)
    with pytest.raises(DataError, match=r"large\.csv: cannot be read: 1\.2 GB; the limit is 1 GB"):
        read_table(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (14, "line 1.* housing table.*; for a table of your own .*use --no-header"),
        (15, "line 1: the columns have no names; to call them column_1 to column_15, use --no-header"),
    ],
)
def test_a_table_of_other_numbers_is_never_taken_for_the_housing_table(
    tmp_path: Path, columns: int, message: str
) -> None:
    values = np.random.RandomState(0).randint(1, 90, (20, columns)) / 10
    np.savetxt(path := tmp_path / "other.dat", values, fmt="%.1f")
    with pytest.raises(DataError, match=rf"other\.dat: {message}"):
        read_table(path)


def test_white_space_in_a_name_becomes_a_blank(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text('a,"floor\narea","price\u00a0(USD)",x\u2028y\n1,2,3,4\n')
    assert read_table(path).columns == ("a", "floor area", "price (USD)", "x y")


def test_a_file_whose_name_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.csv")
    (tmp_path / name).write_text(CSV)
    with pytest.raises(DataError, match="rename it"):
        read_table(tmp_path / name)
