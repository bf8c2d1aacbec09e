"""The same table in the formats that people have is read as the same numbers, or refused helpfully."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from job.data.cells import is_missing, told
from job.data.check import check
from job.data.dataset import DEFAULT_DATA, load
from job.data.reading import Reading
from job.data.table import read_table
from job.errors import DataError
from tests.tables import NAMES, PLAIN, ROWS, Form

BODY = PLAIN.partition("\n")[2]
SPACED = Form(" ").write()


def wrapped(text: str) -> str:
    """The housing table as StatLib has it: a description, and each record on two lines."""
    lines = []
    for line in text.splitlines():
        cells = line.split()
        lines += [" " + "  ".join(cells[:11]), "  " + "  ".join(cells[11:])]
    head = " The Boston house-price data.\n\n Variables in order:\n CRIM  per capita crime rate\n\n"
    return head + "\n".join(lines) + "\n"


READ = {
    "semicolons": Form(";").write(),
    "semicolons, all quoted": Form(";", quoted=True).write(),
    "semicolons, decimal commas": Form(";", ",").write(),
    "semicolons, decimal commas, quoted": Form(";", ",", quoted=True).write(),
    "tabs": Form("\t").write(),
    "tabs, decimal commas": Form("\t", ",").write(),
    "two tabs": Form("\t").write().replace("\t", "\t\t"),
    "bars": Form("|").write(),
    "blanks": SPACED,
    "aligned by blanks": Form(" ", aligned=True).write(),
    "commas and blanks": Form(aligned=True).write(),
    "decimal commas between blanks": Form(" ", ",").write(),
    "names between commas, numbers between blanks": "a,b,y\n" + SPACED.partition("\n")[2],
    "all names in one quoted cell": "\"'a', 'b', 'y'\"\n" + SPACED.partition("\n")[2],
    "names in single quotes": "'a','b','y'\n" + BODY,
    "scikit-learn's counts": f"{len(ROWS)},2,,\n" + PLAIN,
    "scikit-learn's counts alone": f"{len(ROWS)},2\n" + PLAIN,
    "pandas' index": Form(index=True).write(),
    "pandas' index, saved again": Form(index=True).write().replace(",a", "Unnamed: 0,a", 1),
    "an index of texts": "\n".join(
        [",a,b,y", *(f"row {i},{line}" for i, line in enumerate(BODY.splitlines()))]
    ),
    "an index without a name": "\n".join(
        ["a,b,y", *(f"{i},{line}" for i, line in enumerate(BODY.splitlines()))]
    ),
    "R's row names": "\n".join(
        ['"a" "b" "y"', *(f'"{i + 1}" {x}' for i, x in enumerate(SPACED.splitlines()[1:]))]
    ),
    "R's row names between commas": "\n".join(
        ['"","a","b","y"', *(f'"{i + 1}",{x}' for i, x in enumerate(BODY.splitlines()))]
    ),
    "R's numbers of the rows that are left": "\n".join(
        ['"a" "b" "y"', *(f'"{7 * i + 3}" {x}' for i, x in enumerate(SPACED.splitlines()[1:]))]
    ),
    "R's texts as row names": "\n".join(
        ['"a" "b" "y"', *(f'"Mazda RX{i}" {x}' for i, x in enumerate(SPACED.splitlines()[1:]))]
    ),
    "a byte order mark": "\ufeff" + PLAIN,
    "carriage returns and line feeds": Form(end="\r\n").write(),
    "carriage returns": Form(end="\r").write(),
    "mixed ends of lines": PLAIN.replace("\n", "\r\n", 4),
    "Ctrl-Z": PLAIN + "\x1a",
    "a comma at the end of each line": Form(comma_at_end=True).write(),
    "a comma at the end of each row": "a,b,y\n" + Form(comma_at_end=True, header=False).write(),
    "empty cells at the end of a row": PLAIN.rstrip() + ",,\n",
    "a comma at the end of the names": "a,b,y,\n" + BODY,
    "NumPy's comment with the names": "# " + PLAIN,
    "a comment with the names between blanks": "# a b y\n" + SPACED.partition("\n")[2],
    "comments first": "# from somewhere\n# 2020-01-01\n" + PLAIN,
    "percent signs first": "% from somewhere\n" + PLAIN,
    "a title first": "Prices, 12 of them\n" + PLAIN,
    "a title and a blank line first": "Prices of 2020\n\n" + PLAIN,
    "Excel's line about the delimiter": "sep=;\n" + Form(";").write(),
    "Excel's line about an unusual delimiter": "sep=:\n" + Form(":").write(),
    "rows of nothing": PLAIN.replace("\n", "\n,,\n\n", 3),
    "no line feed at the end": PLAIN.rstrip(),
}


@pytest.mark.parametrize("text", READ.values(), ids=READ.keys())
@pytest.mark.parametrize("name", ["made.csv", "made.txt"])
def test_a_table_is_read_without_an_option(tmp_path: Path, text: str, name: str) -> None:
    (path := tmp_path / name).write_bytes(text.encode())
    table = read_table(path)
    assert table.columns == NAMES
    assert table.values.tolist() == [list(row) for row in ROWS]


def test_an_empty_column_between_tabs_is_seen(tmp_path: Path) -> None:
    rows = [f"{i}\t\t{i * i}" for i in range(9)]
    (path := tmp_path / "made.csv").write_text("\n".join(["an area\tits use\ta price", *rows]))
    with pytest.raises(DataError, match=r"column 2 \(its use\): no row has a value; use --drop 'its use'"):
        read_table(path)
    found = read_table(path, Reading(drop=("its use",)))
    assert (found.columns, len(found.values)) == (("an area", "a price"), 9)


def test_texts_with_blanks_and_numbers_do_not_hide_the_delimiter(tmp_path: Path) -> None:
    texts = "\t".join(["town 1"] * 9)
    lines = ["\t".join([*(f"a text {i}" for i in range(9)), "x", "y"])]
    lines += [f"{texts}\t{i}.5\t{i * i}" for i in range(9)]
    (path := tmp_path / "made.txt").write_text("\n".join(lines))
    assert read_table(path, Reading(features=("x",), decimal=".")).columns == ("x", "y")
    assert read_table(path, Reading(features=("x",))).columns == ("x", "y")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_other_forms_of_unicode_are_read(tmp_path: Path, encoding: str) -> None:
    (path := tmp_path / "made.csv").write_bytes(PLAIN.replace("a,", "größe,").encode(encoding))
    table = read_table(path)
    assert table.columns == ("größe", "b", "y")
    assert table.values.tolist() == [list(row) for row in ROWS]


def test_what_gzip_has_packed_is_read_and_named_by_the_file_itself(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv.gz").write_bytes(gzip.compress(PLAIN.encode()))
    (plain := tmp_path / "made.csv").write_text(PLAIN)
    packed, same = load(path), load(plain)
    assert packed.train_x.tobytes() == same.train_x.tobytes()
    assert packed.sha256 != same.sha256
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"made\.csv\.gz: packed by gzip, and damaged"):
        load(path)


def test_what_gzip_would_unpack_to_more_than_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.data.content.LARGEST", 100)
    (path := tmp_path / "made.csv.gz").write_bytes(gzip.compress(PLAIN.encode()))
    with pytest.raises(DataError, match="more than 1 GB once unpacked, which is the limit"):
        load(path)


def test_more_values_than_the_limit_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.data.table.MOST_VALUES", 38)
    monkeypatch.setattr("job.data.table.scan", None)
    (path := tmp_path / "made.csv").write_text(PLAIN)
    with pytest.raises(DataError, match="14 lines of 3 columns are 42 values; the limit is 38"):
        read_table(path)


def test_statlibs_file_is_the_housing_table(tmp_path: Path) -> None:
    (path := tmp_path / "boston").write_text(wrapped(DEFAULT_DATA.read_text()))
    found, expected = load(path), load()
    assert found.features == expected.features
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()


@pytest.mark.parametrize("form", [Form("\t", header=False), Form(header=False), Form(";", header=False)])
def test_the_housing_table_in_another_format_is_not_taken_for_it_without_names(
    tmp_path: Path, form: Form
) -> None:
    rows = np.loadtxt(DEFAULT_DATA)
    (path := tmp_path / "housing.data").write_text(form.write(rows=rows.tolist()))
    with pytest.raises(DataError, match=r"line 1: the columns have no names.* use --no-header"):
        read_table(path)
    table = read_table(path, Reading(header=False))
    assert table.columns == tuple(f"column_{i}" for i in range(1, 15))
    assert np.array_equal(table.values, rows)


@pytest.mark.parametrize("columns", [14, 15])
def test_numbers_between_blanks_without_names_are_read_if_that_is_said(tmp_path: Path, columns: int) -> None:
    values = np.random.RandomState(0).randint(1, 90, (20, columns)) / 10
    np.savetxt(path := tmp_path / "other.dat", values, fmt="%.1f")
    assert np.array_equal(read_table(path, Reading(header=False)).values, values)


def test_a_table_is_not_taken_for_the_housing_table_by_the_columns_that_are_used(tmp_path: Path) -> None:
    (path := tmp_path / "other.dat").write_text(
        DEFAULT_DATA.read_text().replace(" 0  0.5380", " 2  0.5380", 1)
    )
    with pytest.raises(DataError, match="line 1, column 4: 2 cannot be CHAS"):
        load(path, None, Reading(features=("RM", "LSTAT")))


def test_what_is_left_out_of_a_file_is_said(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text("A title\n" + Form(index=True).write())
    assert read_table(path).layout.notes == (
        "line 1 left out: no row of the table",
        "column 1 is left out: it has no name, so it is taken for an index",
    )
    path.write_text("# from somewhere\n# a,b,y\n" + BODY)
    assert read_table(path).layout.notes == ("the names are those of the comment in line 2",)
    path.write_text("A title\n\nand its second line\n" + PLAIN)
    assert read_table(path).layout.notes == ("lines 1 to 3 left out: no row of the table",)


def test_rows_of_another_width_are_counted_beyond_those_that_are_named(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text(PLAIN + "1,2\n" * 7)
    problems = [str(problem) for problem in check(path, Reading()).problems]
    assert problems[:5] == [
        f"line {line}: 2 values, but the table has 3 columns named in line 1; correct the line"
        for line in range(14, 19)
    ]
    assert problems[5:] == ["7 lines in all have another number of values"]


REFUSED = {
    "a page": (
        b"<!DOCTYPE html>\n<html></html>\n",
        "line 1: an HTML page, not the table.*; download the file",
    ),
    "XML": (b"<?xml version='1.0'?><a/>", "line 1: an XML or HTML document"),
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "line 1: a Git LFS pointer.*git lfs pull",
    ),
    "a workbook": (
        b"PK\x03\x04\x14\0\0\0xl/worksheets/sheet1.xml",
        "an Excel workbook; save the table as CSV",
    ),
    "an archive": (b"PK\x03\x04\x14\0\0\0made.csv", "a ZIP archive; unpack it"),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an old Excel workbook"),
    "JSON lines": (b'{"a": 1, "y": 2}\n{"a": 2, "y": 3}\n', "line 1: JSON; save the table as CSV"),
    "JSON": (b'[\n{"a": 1}]', "line 1: JSON"),
    "Parquet": (b"PAR1\x15\x04", "a Parquet file"),
    "NumPy": (b"\x93NUMPY\x01\0", "a NumPy array"),
    "xz": (b"\xfd7zXZ\0\0", "packed by xz; unpack it"),
    "ARFF": (b"@relation x\n@data\n1,2\n", "line 1: an ARFF file"),
    "a packed page": (gzip.compress(b"<html></html>"), "an HTML page"),
    "CP1252": ("größe,y\n1,2\n".encode("cp1252"), "line 1, byte 3: not UTF-8.*seems to be CP1252"),
    "GBK": ("价格,面积\n1,2\n".encode("gbk"), r"line 1, byte 1: not UTF-8.*seems to be GB18030 \(GBK\)"),
    "GBK with a rare character": (b"\xb0\xa1\xb0\xa1\x81\x41,y\n1,2\n", "seems to be GB18030"),
    "half of it rare in GBK": (b"\xb0\xa1\x81\x41,y\n1,2\n", "seems to be CP1252"),
    "names only": (b"a,b,y\n", "line 1: names, and no row below them"),
    "doubled names": (b"a,b,a\n1,2,3\n", "both are named 'a'; to keep one of them, use --drop col"),
    "too few names": (
        b"a,b\n1.5,2,3\n4,5,6\n",
        "line 2: 3 values, but the table has 2 columns named in line 1",
    ),
    "a footer": (PLAIN.encode() + b"12 rows\n", "line 14: 1 value, but the table has 3 columns"),
    "a row of texts among numbers": (
        b"5,6,x\n3,4,y\na,b,c\n5,6,z\n7,8,w\n8,9,w\n",
        "line 1: the columns have no names",
    ),
    "years as names": (
        b"land,1990,1991\nx,1,2\ny,2,3\n",
        "line 1, column 2: '1990' is a number, but this line",
    ),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_table_is_named_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (path := tmp_path / "made.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"made\.csv: .*{message}") as refusal:
        read_table(path)
    assert "\n" not in str(refusal.value)


def test_a_table_of_texts_without_names_has_no_row(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text("a,b,y\nc,d,z\n")
    with pytest.raises(DataError, match=r"made\.csv: there is no row of numbers$"):
        read_table(path, Reading(header=False))


CELLS = {
    "253,112": "use --thousands , or --decimal ,",
    "1,253,112": "use --thousands ,$",
    "1'253": """use --thousands ''"'"''""",
    "1 253": "use --thousands space$",
    "1,5": "use --decimal ,$",
    "NEAR BAY": "'NEAR BAY' is not a number; use --drop b, or correct the file",
    "2020-01-31": "'2020-01-31' is a date, not a number; use --drop b",
    "31.01.2020": "is a date",
    "2020-01-31 12:00:00": "is a date",
    "\u22121.5": r"the character '\u2212' \(U\+2212 MINUS SIGN\)",
    "\uff112": r"\(U\+FF11 FULLWIDTH DIGIT ONE\)",
    "7 %": "'7 %' is not a number",
    "True": "'True' is not a number",
    "inf": "'inf' is not a finite number; use --drop b",
}


@pytest.mark.parametrize(("cell", "message"), CELLS.items(), ids=CELLS.keys())
def test_a_cell_that_is_no_number_is_named_with_its_place_and_the_option(
    tmp_path: Path, cell: str, message: str
) -> None:
    (path := tmp_path / "made.csv").write_text(PLAIN + f'1,"{cell}",2\n')
    with pytest.raises(DataError, match=rf"made\.csv: line 14, column 2 \(b\): .*{message}"):
        read_table(path)


def test_other_programs_marks_of_a_missing_value_are_known() -> None:
    for mark in ("n.a.", "#N/A N/A", "-nan", "(null)", "#NULL!", "nil", "missing", "--", "---", "..", "..."):
        assert is_missing(mark), mark
    for mark in ("*", "\\N", "1.#IND", "-1.#QNAN", "#DIV/0!", "#VALUE!", "#NUM!", "None", "Missing"):
        assert is_missing(mark), mark
    assert not any(map(is_missing, ("0", "-1", "na2", "inf", "unknown")))


@pytest.mark.parametrize(
    "cell",
    [
        *("2020-01-31T12:00Z", "2020-01", "2020/1/31", "31/1/2020", "1-31-20 12:00", "12:30", "12:30:15.5"),
        *("31 Jan 2020", "31-January-20", "Jan 31, 2020", "2020年1月31日", "2020年1月"),
    ],
)
def test_dates_of_many_forms_are_called_dates(cell: str) -> None:
    assert told(cell) == (f"{cell!r} is a date, not a number", ())


MARKS = ["NA", "", "?", "NaN", "nan", "N/A", "null", "None", "-", "#N/A", "<NA>", "."]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_missing_values_are_counted_by_column(tmp_path: Path, mark: str, delimiter: str) -> None:
    lines = [f"{mark},2,3", f"4,{mark},6", f"7,{mark},9"]
    text = PLAIN + "".join(f"{line}\n" for line in lines)
    (path := tmp_path / "made.csv").write_text(text.replace(",", delimiter))
    written = f"written '{mark}'" if mark else "empty"
    with pytest.raises(DataError) as refusal:
        read_table(path)
    assert str(refusal.value) == (
        f"{path}: 3 values are missing (a 1, b 2); the first, in line 14, column 1 (a), is {written}; "
        "use --missing drop or --missing mean"
    )
    found = read_table(path, Reading(missing="drop")).values
    assert np.argwhere(np.isnan(found)).tolist() == [[12, 0], [13, 1], [14, 1]]


def test_a_comma_that_may_be_either_is_not_guessed(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text("a;y\n" + "".join(f"1,{i}00;{i}\n" for i in range(1, 9)))
    with pytest.raises(DataError, match="line 2: the comma in '1,100' may separate decimals or thousands"):
        read_table(path)
    assert read_table(path, Reading(decimal=",")).values[0].tolist() == [1.1, 1]
    assert read_table(path, Reading(thousands=",")).values[0].tolist() == [1100, 1]


NAMED = {
    "thousands": ('a,y\n82,"253,112"\n146,"1,524,211.5"\n', Reading(thousands=",")),
    "German thousands": ("a;y\n82;253.112\n146;1.524.211,5\n", Reading(thousands=".", decimal=",")),
    "Swiss thousands": ("a;y\n82;253'112\n146;1'524'211.5\n", Reading(thousands="'")),
    "another delimiter": ("a:y\n82:253112\n146:1524211.5\n", Reading(delimiter=":")),
    "no names": ("82,253112\n146,1524211.5\n", Reading(header=False)),
    "a title, and no names": ("A title\n82,253112\n146,1524211.5\n", Reading(header=False)),
    "Excel's line, and no names": ("sep=;\n82;253112\n146;1524211.5\n", Reading(header=False)),
    "comments, and no names": ("# c\n# d\n82,253112\n146,1524211.5\n", Reading(header=False)),
    "counts, and no names": ("2,1,setosa\n82,253112\n146,1524211.5\n", Reading(header=False)),
}


@pytest.mark.parametrize(("text", "reading"), NAMED.values(), ids=NAMED.keys())
def test_a_format_can_be_named(tmp_path: Path, text: str, reading: Reading) -> None:
    (path := tmp_path / "made.csv").write_text(text)
    assert read_table(path, reading).values.tolist() == [[82, 253112], [146, 1524211.5]]


def test_both_options_of_german_numbers_are_named(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text("a;y\n82,5;253.112,5\n146,0;1.524.211,0\n")
    with pytest.raises(DataError, match=r"column 2 \(y\): '253.112,5' .*; use --decimal , --thousands \.$"):
        read_table(path)
    found = read_table(path, Reading(decimal=",", thousands=".")).values
    assert found.tolist() == [[82.5, 253112.5], [146, 1524211]]


def test_no_option_is_named_that_is_given(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text("a;y\n1,5;2\n1,253,112;3\n1.253;4\n")
    with pytest.raises(DataError, match=r"line 3, column 1 \(a\): '1,253,112' is not .* use --drop a$"):
        read_table(path, Reading(decimal=","))


def test_groups_of_other_sizes_are_no_thousands(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text('a,y\n1,"2,5"\n2,"1,000"\n')
    with pytest.raises(DataError, match=r"line 2, column 2 \(y\): '2,5' is not a number"):
        read_table(path, Reading(thousands=","))
