"""The table of `make matrix` is whole, agrees with README, and says where a row begins to differ."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from db.store import Store
from tests.conftest import ROOT
from tests.matrix import (
    BEGIN,
    END,
    HEADER,
    NOT_INSTALLED,
    PAGE,
    PINS,
    Result,
    Row,
    cells,
    markdown,
    outcome,
    result_of,
    rows,
    stated,
    unpinned,
    write,
)
from tests.samples import execute, history

NAMES = ("x0", "x1", "x2", "bias")


def test_both_readmes_state_a_digest_for_each_model() -> None:
    english, chinese = stated(ROOT / "README.md"), stated(ROOT / "README.zh-CN.md")
    assert english.keys() == {"paddle", "python"}
    assert english == chinese


def test_the_table_has_every_row_and_its_pinned_rows_have_the_digests_of_readme() -> None:
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in written.splitlines() if "|" in line
    ]
    assert lines[0] == list(HEADER)
    table = [dict(zip(HEADER, line, strict=True)) for line in lines[2:]]
    promise = {model: f"`{digest[:12]}`" for model, digest in stated(ROOT / "README.md").items()}
    for row, line in zip(rows(), table, strict=True):
        assert line["Python"].startswith(row.python)
        assert (line["database"], line["how"]) == (row.database, row.training)
        wanted = dict(package.split("==") for package in row.packages)
        assert line["NumPy"] == wanted.get("numpy", line["NumPy"])
        assert line["Paddle"] == wanted.get("paddlepaddle", line["Paddle"])
        same = {model: line[model] for model in promise} == promise
        assert same == (line["promised?"] == "yes")
        assert same or not row.pinned or line["promised?"] == NOT_INSTALLED


def test_a_row_that_differs_names_the_model_and_its_first_epoch() -> None:
    right, wrong = history(5), history(5)
    wrong.test_loss[3] += 1
    promise = {"paddle": "a", "python": "b"}
    same = Result({}, NAMES, promise, {"paddle": right, "python": right})
    assert outcome(same, promise, None) == "yes"
    changed = Result({}, NAMES, {"paddle": "a", "python": "c"}, {"paddle": right, "python": wrong})
    assert outcome(changed, promise, same) == "no: python from epoch 3"
    assert outcome(changed, promise, None) == "no: python"


def test_a_digest_that_is_not_that_of_the_stored_numbers_ends_the_row(filled: Store) -> None:
    assert result_of(filled, 0).digests == {model.name: model.digest for model in filled.run(1).models}
    execute(filled, "UPDATE epochs SET test_loss = 2 * test_loss WHERE epoch = 7 AND model = 'paddle'")
    with pytest.raises(RuntimeError, match="digest"):
        result_of(filled, 0)


def test_a_row_without_a_run_says_what_was_asked_for() -> None:
    line = cells(Row("3.13", ("numpy==1.26.4",)), None, NOT_INSTALLED)
    assert line == ["3.13", "1.26.4", "locked", "", "", "SQLite", "at once", "", "", NOT_INSTALLED]


def test_an_unpinned_row_keeps_the_other_pins() -> None:
    assert unpinned("", MKL_CBWR=None).settings.keys() == {"JOB_PIN_NUMERICS", *PINS} - {"MKL_CBWR"}
    settings = unpinned("", OPENBLAS_CORETYPE="Zen").settings
    assert settings == {"JOB_PIN_NUMERICS": "0", **PINS, "OPENBLAS_CORETYPE": "Zen"}
    assert [row.name for row in rows() if not row.pinned and not row.settings] == []


def test_the_table_replaces_only_what_it_wrote(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}\nafter\n")
    write(markdown([["x"] * len(HEADER)]), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert re.search(r"^\| x +\| x", text, re.MULTILINE)
    write("again", page)
    assert page.read_text() == f"before\n{BEGIN}\nagain\n{END}\nafter\n"


def test_no_two_rows_have_one_name() -> None:
    names = [row.name for row in rows()]
    assert len(set(names)) == len(names)
