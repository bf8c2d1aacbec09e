"""The columns, the missing and constant values, and the split are as the options say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.data.dataset import doubts, load, split
from job.data.reading import Reading
from job.errors import DataError
from tests.samples import table_of, write_csv

HOLES = "a,b,y\n1,2,3\n2,?,5\n3,4,\n4,6,8\n?,8,9\n6,1,7\n7,3,2\n8,5,4\n"
CONSTANT = "a,c,y\n" + "".join(f"{i},7,{i * i % 5}\n" for i in range(10))


@pytest.mark.parametrize(
    ("reading", "target", "features"),
    [
        (Reading(features=("x2", "x0")), None, ("x2", "x0")),
        (Reading(features=("y", "x0")), "x1", ("y", "x0")),
        (Reading(drop=("x1",)), None, ("x0", "x2")),
        (Reading(drop=("y",)), None, ("x0", "x1")),
        (Reading(features=("x0",), drop=("x1",)), "y", ("x0",)),
    ],
)
def test_columns_are_chosen(
    tmp_path: Path, reading: Reading, target: str | None, features: tuple[str, ...]
) -> None:
    path = write_csv(tmp_path / "made.csv")
    found, whole = load(path, target, reading), load(path)
    assert found.features == features
    every = {name: whole.train_x[:, i] for i, name in enumerate(whole.features)} | {"y": whole.train_y[:, 0]}
    for i, name in enumerate(features):
        assert found.train_x[:, i].tobytes() == every[name].tobytes()
    assert found.target == (target or ("x2" if "y" in reading.drop else "y"))
    assert found.train_y[:, 0].tobytes() == every[found.target].tobytes()


def test_a_column_that_is_left_out_may_hold_anything(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text(
        "a,bias,when,b,y\n" + "".join(f"{i},7,2020-01-0{i + 1},?,{i * i % 5}\n" for i in range(9))
    )
    assert load(path, None, Reading(drop=("bias", "when", "b"))).features == ("a",)
    assert load(path, None, Reading(features=("a",))).features == ("a",)


@pytest.mark.parametrize(
    ("reading", "target", "message"),
    [
        (Reading(features=("z",)), None, "--features: there is no column 'z'; the columns are x0, x1, x2, y"),
        (Reading(drop=("z",)), None, "--drop: there is no column 'z'"),
        (Reading(drop=("y",)), "y", "the target 'y' is in --drop"),
        (
            Reading(features=("x0", "y")),
            None,
            "'y' is the target, and in --features; name another by --target",
        ),
        (Reading(drop=("x0", "x1", "x2")), None, r"one column only \(y\); a feature and a target are needed"),
        (Reading(drop=("x0", "x1", "x2", "y")), None, "--drop leaves no column"),
        (Reading(test_share=0.99), None, "--test-share 0.99 makes 0 of 30 rows training rows"),
        (Reading(test_share=1e-9), None, None),
    ],
)
def test_a_choice_that_leaves_nothing_to_train_on_is_refused(
    tmp_path: Path, reading: Reading, target: str | None, message: str | None
) -> None:
    path = write_csv(tmp_path / "made.csv")
    if message is None:
        assert len(load(path, target, reading).test_x) == 1
        return
    with pytest.raises(DataError, match=message):
        load(path, target, reading)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "ab"}, "--delimiter 'ab': give one character"),
        ({"delimiter": "5"}, "--delimiter '5': give one character that is no letter, digit or quote"),
        ({"decimal": ";"}, "--decimal ';': give . or ,"),
        ({"thousands": "."}, "--thousands . is the decimal point, too"),
        ({"missing": "zero"}, "--missing 'zero': give drop or mean"),
        ({"constant": "keep"}, "--constant 'keep': give drop"),
        ({"test_share": 1.0}, "--test-share 1: give a number between 0 and 1"),
        ({"test_share": float("nan")}, "--test-share nan"),
        ({"shuffle": -1}, "--shuffle -1: give a seed from 0 to 4294967295"),
        ({"features": ("a",), "drop": ("a",)}, "'a' is in --features and in --drop"),
        ({"drop": ("ä" * 1000,)}, "the options for the table have 2,0.. bytes; the limit is 1,500"),
    ],
)
def test_an_option_without_meaning_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Reading(**options)  # type: ignore[arg-type]


def test_rows_with_a_missing_value_are_left_out_before_the_split(tmp_path: Path) -> None:
    (path := tmp_path / "holes.csv").write_text(HOLES)
    (whole := tmp_path / "whole.csv").write_text(
        "".join(f"{line}\n" for line in HOLES.splitlines() if "?" not in line and not line.endswith(","))
    )
    found, expected = load(path, None, Reading(missing="drop")), load(whole)
    for name in ("train_x", "train_y", "test_x", "test_y", "mean"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()


def test_a_missing_value_becomes_the_training_rows_mean(tmp_path: Path) -> None:
    (path := tmp_path / "holes.csv").write_text(HOLES.replace("3,4,\n", "3,4,1\n"))
    found = load(path, None, Reading(missing="mean"))
    values = np.array([[1, 2], [2, np.nan], [3, 4], [4, 6], [np.nan, 8], [6, 1], [7, 3], [8, 5]])
    filled = np.where(np.isnan(values), np.nanmean(values[:6], axis=0), values)
    expected = (filled - filled[:6].mean(0)) / np.ptp(filled[:6], axis=0)
    assert np.concatenate([found.train_x, found.test_x]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HOLES,
            r"line 4, column 3 \(y\): a value of the target is missing, the first of 1; use --missing drop",
        ),
        (
            "a,b,y\n" + "".join(f"{i},?,{i * i % 5}\n" for i in range(8)) + "9,1,2\n10,2,1\n",
            r"column 2 \(b\): no training row has a value; use --drop b",
        ),
    ],
)
def test_a_mean_that_is_not_there_is_not_made_up(tmp_path: Path, text: str, message: str) -> None:
    (path := tmp_path / "holes.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load(path, None, Reading(missing="mean"))


def test_a_row_is_named_by_its_line_wherever_the_options_have_put_it(tmp_path: Path) -> None:
    lines = ["a,y", "?,1", *(f"{i},{i * i % 7}" for i in range(20))]
    lines[9], lines[15] = "1e300,4", "7,1e300"
    (path := tmp_path / "made.csv").write_text("\n".join(lines))
    for shuffle in (None, 1, 2, 3):
        with pytest.raises(
            DataError, match=r"line (10, column 1 \(a\)|16, column 2 \(y\)): 1e\+300 is beyond"
        ):
            load(path, None, Reading(missing="drop", shuffle=shuffle, test_share=0.9))
    path.write_text("\n".join(lines).replace("1e300", "NA"))
    for shuffle in (None, 1, 2, 3):
        with pytest.raises(DataError, match=r"line 16, column 2 \(y\): a value of the target is missing"):
            load(path, None, Reading(missing="mean", shuffle=shuffle))
    path.write_text(path.read_text().replace("\n0,0\n", "\n0,NA\n"))
    for shuffle in (None, 1, 2, 3):
        with pytest.raises(DataError, match=r"line 3, column 2 \(y\): .* is missing, the first of 2"):
            load(path, None, Reading(missing="mean", shuffle=shuffle))


@pytest.mark.parametrize("text", ["a,b,a,y\n", "a,b,,y\n", "a,b,b\x07,y\n"])
def test_a_column_whose_name_does_not_tell_it_is_dropped_by_its_position(tmp_path: Path, text: str) -> None:
    rows = "".join(f"{i},{i * i % 7},{i * 3 % 5},{i * i % 5}\n" for i in range(10))
    (path := tmp_path / "made.csv").write_text(text + rows)
    with pytest.raises(DataError, match=r"line 1, column.* 3: .*use --drop (column_\d or --drop )*column_3"):
        load(path)
    found = load(path, None, Reading(drop=("column_3",)))
    path.write_text("a,b,c,y\n" + rows)
    assert found.train_x.tobytes() == load(path, None, Reading(drop=("c",))).train_x.tobytes()
    with pytest.raises(DataError, match="no column 'column_5'"):
        load(path, None, Reading(drop=("column_5",)))


def test_either_of_two_columns_with_one_name_may_be_kept(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text(
        "a,y,a\n" + "".join(f"{i},{i % 3},{-2 * i}\n" for i in range(10))
    )
    for dropped, target, low, high in ((1, "a", -14, 0), (3, "y", 0, 2)):
        found = load(path, None, Reading(drop=(f"column_{dropped}",)))
        assert (found.target, found.minimum[-1], found.maximum[-1]) == (target, low, high)


def test_doubled_names_of_columns_that_are_not_used_do_no_harm(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text("c,a,c,y\n" + "".join(f"x,{i},,{i % 3}\n" for i in range(10)))
    assert load(path, "y", Reading(features=("a",))).features == ("a",)
    assert load(path, "y", Reading(drop=("c",))).features == ("a",)


def test_a_constant_feature_is_refused_or_left_out(tmp_path: Path) -> None:
    (path := tmp_path / "made.csv").write_text(CONSTANT)
    with pytest.raises(DataError, match=r"column 2 \(c\) is 7 in all 8 training rows.*; use --constant drop"):
        load(path)
    assert load(path, None, Reading(constant="drop")).features == ("a",)
    with pytest.raises(DataError, match=r"column 2 \(c\) is 7 .* choose another --target"):
        load(path, "c", Reading(constant="drop"))
    path.write_text("c,y\n" + "".join(f"7,{i}\n" for i in range(10)))
    with pytest.raises(DataError, match="no feature is left beside the target y"):
        load(path, None, Reading(constant="drop"))


@given(st.integers(5, 3000), st.integers(1, 99), st.none() | st.integers(0, 2**32 - 1))
def test_the_split_is_exact_and_loses_no_row(rows: int, percent: int, seed: int | None) -> None:
    values = np.asfortranarray([np.arange(rows), np.arange(rows)[::-1]]).T
    train_rows = rows * (100 - percent) // 100
    table = table_of(values.astype(float), ("a", "y"), Reading(test_share=percent / 100, shuffle=seed))
    if train_rows < 2:
        with pytest.raises(DataError, match="training rows"):
            split(table)
        return
    found = split(table)
    assert (len(found.train_x), len(found.test_x)) == (train_rows, rows - train_rows)
    x = np.concatenate([found.train_x, found.test_x])[:, 0].astype(float)
    order = np.rint(x * (found.maximum[0] - found.minimum[0]) + found.mean[0]).astype(int)
    expected = np.arange(rows) if seed is None else np.random.RandomState(seed).permutation(rows)
    assert order.tolist() == expected.tolist()


@pytest.mark.thorough
def test_the_default_share_is_the_first_four_fifths_of_any_table() -> None:
    for rows in range(5, 2000):
        values = np.asfortranarray(np.random.RandomState(0).rand(rows, 2))
        found = split(table_of(values, ("a", "y")))
        assert len(found.train_x) == rows * 4 // 5


def test_rows_sorted_by_the_target_are_doubted_until_they_are_shuffled(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    (path := tmp_path / "made.csv").write_text(
        "a,y\n" + "".join(f"{random.rand()},{i / 2}\n" for i in range(30))
    )
    (doubt,) = doubts(load(path))
    assert str(doubt) == (
        "the values of y in the training and in the test rows do not overlap, as if the rows were sorted; "
        "use --shuffle 0"
    )
    assert list(doubts(load(path, None, doubt.options[0]))) == []


def test_two_test_rows_beyond_the_others_are_no_doubt(tmp_path: Path) -> None:
    for rows, doubted in ((10, 0), (15, 1)):
        text = "a,y\n" + "".join(f"{i * 7 % 10},{i}\n" for i in range(rows))
        (path := tmp_path / "made.csv").write_text(text)
        assert len(list(doubts(load(path)))) == doubted


@pytest.mark.parametrize("target", ["y", "class"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_feature_that_is_a_function_of_the_target_is_doubted(
    tmp_path: Path, target: str, sign: int
) -> None:
    path = write_csv(tmp_path / "made.csv")
    names, *rows = path.read_text().splitlines()
    classes = [sign * (float(row.rsplit(",", 1)[1]) > 0) for row in rows]
    path.write_text("\n".join([f"{names},class", *(f"{r},{c}" for r, c in zip(rows, classes, strict=True))]))
    (doubt,) = doubts(load(path, target))
    assert doubt.text.startswith(f"{'class' if target == 'y' else 'y'} and the target {target} are functions")
    assert list(doubts(load(path, target, doubt.options[0]))) == []


def test_the_housing_table_is_not_doubted(tmp_path: Path) -> None:
    assert list(doubts(load())) == []
    assert list(doubts(load(write_csv(tmp_path / "made.csv")))) == []
