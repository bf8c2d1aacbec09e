"""The table of `make matrix`: which rows have the digests that README states, and where the others begin to differ."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from struct import pack

from tests.conftest import ROOT
from tests.matrix import (
    BEGIN,
    END,
    HEADER,
    PAGE,
    PINS,
    Result,
    Row,
    cells,
    chain,
    first_difference,
    markdown,
    outcome,
    rows,
    stated,
    unpinned,
    write,
)
from tests.samples import history

NAMES = ("a", "b", "bias")


def test_both_readmes_state_a_digest_for_each_model() -> None:
    english, chinese = stated(ROOT / "README.md"), stated(ROOT / "README.zh-CN.md")
    assert english.keys() == {"paddle", "python"}
    assert english == chinese


def test_the_table_has_every_row_and_its_pinned_rows_have_the_digests_of_readme() -> None:
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in written.splitlines() if "|" in line]
    assert lines[0] == list(HEADER)
    table = [dict(zip(HEADER, line, strict=True)) for line in lines[2:]]
    promise = {model: f"`{digest[:12]}`" for model, digest in stated(ROOT / "README.md").items()}
    for row, line in zip(rows(), table, strict=True):
        assert line["Python"].startswith(row.python)
        assert (line["database"], line["how"]) == (row.database, row.training)
        for package in row.packages:
            assert package.split("==")[1] in line.values()
        same = {model: line[model] for model in promise} == promise
        assert same == (line["promised?"] == "yes")
        assert same or not row.pinned


def test_the_chain_is_that_of_the_schema_page() -> None:
    trained = history(3, features=2, first_epoch=4)
    digest = sha256(b"epoch-ledger 1\na\nb\nbias\n").digest()
    for i in range(3):
        numbers = [trained.train_loss[i], trained.test_loss[i], *trained.parameters[i]]
        digest = sha256(digest + pack("<q5f", 4 + i, *numbers)).digest()
        assert chain(NAMES, trained)[i] == digest


def test_a_row_that_differs_names_the_model_and_its_first_epoch() -> None:
    right, wrong = history(5, features=2), history(5, features=2)
    wrong.test_loss[3] += 1
    chains = {"paddle": chain(NAMES, right), "python": chain(NAMES, right)}
    promise = Result({}, chains).digests
    assert outcome(Result({}, chains), promise, chains) == "yes"
    changed = Result({}, chains | {"python": chain(NAMES, wrong)})
    assert outcome(changed, promise, chains) == "no: python from epoch 3"
    assert outcome(changed, promise, {}) == "no: python"
    assert first_difference(chains["paddle"], chains["python"]) is None


def test_a_row_without_a_run_says_what_was_asked_for() -> None:
    line = cells(Row("3.13", ("numpy==1.26.4",)), None, "cannot be installed")
    assert line == ["3.13", "1.26.4", "locked", "", "", "SQLite", "at once", "", "", "cannot be installed"]


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
