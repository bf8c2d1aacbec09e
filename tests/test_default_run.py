"""The default run is the notebook's: every printed number, every epoch of both models, every row."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from db.history import History
from db.store import Store
from job.verdicts.gap import TOLERANCE, difference
from job.verdicts.verify import DEFAULT_EPOCHS, REFERENCE, verify
from tests.conftest import ROOT, Job, job_command, new_database
from tests.matrix import stated
from tests.samples import sqlite_file

pytestmark = pytest.mark.process

MODELS = ("paddle", "python")


@pytest.fixture(scope="module")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The file that `job train` makes by default, and its output."""
    directory = tmp_path_factory.mktemp("default")
    done = subprocess.run(
        job_command("train"), cwd=directory, capture_output=True, text=True, check=True, timeout=300
    )
    return directory / "results" / "ledger.db", done.stdout


@pytest.fixture(scope="module")
def histories(default_run: tuple[Path, str]) -> dict[str, History]:
    with Store(f"sqlite:///{default_run[0]}") as store:
        return {model: store.history(1, model) for model in MODELS}


def test_every_epoch_of_both_models_is_a_row(default_run: tuple[Path, str]) -> None:
    with sqlite_file(default_run[0]) as connection:
        rows = connection.execute("select model, count(*), min(epoch), max(epoch) from epochs group by model")
        assert rows.fetchall() == [("paddle", 10000, 0, 9999), ("python", 10000, 0, 9999)]


def test_the_default_run_has_the_digests_that_readme_states(default_run: tuple[Path, str]) -> None:
    promised = stated(ROOT / "README.md")
    assert promised.keys() == set(MODELS)
    assert dict(re.findall(r"^(\w+): digest (\w+)$", default_run[1], re.MULTILINE)) == promised
    with Store(f"sqlite:///{default_run[0]}") as store:
        assert {model.name: model.digest for model in store.run(1).models} == promised


@pytest.mark.slow
def test_so_it_has_on_postgresql(postgresql_server: str, postgresql_template: str, job: Job) -> None:
    for url in new_database(postgresql_server, postgresql_template):
        done = job("train", "--database-url", url, timeout=300)
        digests = re.findall(r"^(\w+): digest (\w+)$", done.stdout, re.MULTILINE)
        assert dict(digests) == stated(ROOT / "README.md")


def test_every_printed_loss_and_weight_is_met(histories: dict[str, History]) -> None:
    reference = json.loads(REFERENCE.read_text())
    for model, history in histories.items():
        for printed in reference["losses"]:
            epoch = printed["epoch"]
            assert history.train_loss[epoch] == pytest.approx(printed[model]["train"], abs=2e-6)
            assert history.test_loss[epoch] == pytest.approx(printed[model]["test"], abs=2e-6)
        ours = history.parameters[9999].tolist()
        assert ours == pytest.approx(reference["final_weights_and_bias"][model], abs=2e-6)


def test_both_models_agree_on_every_epoch(histories: dict[str, History]) -> None:
    paddle, python = histories["paddle"], histories["python"]
    # Losses: four spacings of float32 between 1 and 2, where the largest are. Parameters, all below 1: a
    # little more than the one spacing that was seen.
    assert np.abs(paddle.train_loss - python.train_loss).max() < 5e-7
    assert np.abs(paddle.test_loss - python.test_loss).max() < 5e-7
    assert np.abs(paddle.parameters - python.parameters).max() < 3e-7
    found = difference(paddle, python, [f"w{i}" for i in range(14)], MODELS)
    assert found.within_tolerance
    assert TOLERANCE == 2e-6


def test_the_parameter_view_has_the_notebooks_weight(default_run: tuple[Path, str]) -> None:
    where = "model = 'paddle' and epoch = 9999 and parameter = 'LSTAT'"
    with sqlite_file(default_run[0]) as connection:
        ((value,),) = connection.execute(f"select value from parameter_history where {where}")
    assert value == pytest.approx(-0.69588548, abs=2e-6)


def test_the_parity_view_has_the_largest_gaps(
    default_run: tuple[Path, str], histories: dict[str, History]
) -> None:
    sql = "select count(*), max(train_loss_gap), max(test_loss_gap), max(parameter_gap) from parity_history"
    with sqlite_file(default_run[0]) as connection:
        (row,) = connection.execute(sql)
    paddle, python = histories["paddle"], histories["python"]
    gaps = np.abs(paddle.parameters - python.parameters).max(axis=1)
    assert row[0] == 10000
    assert row[1] == np.abs(paddle.train_loss - python.train_loss).max()
    assert row[2] == np.abs(paddle.test_loss - python.test_loss).max()
    assert row[3] == pytest.approx(gaps.max(), abs=6e-8)  # SQLite's view reads decimals, not float32


def test_the_notebooks_table_is_printed(default_run: tuple[Path, str]) -> None:
    printed = default_run[1]
    lines = [line.split() for line in printed.splitlines()]
    epochs = [int(words[0]) for words in lines if words and words[0].isdigit()]
    assert epochs == [*range(0, 10000, 1000), 9999]
    first = next(words for words in lines if words and words[0] == "0")
    assert [float(word) for word in first[1:]] == pytest.approx([1.989452, 1.495933] * 2, abs=2e-6)
    assert "LSTAT" in printed
    readme = (ROOT / "README.md").read_text()
    errors = readme[readme.index("Errors in units of MEDV") :].partition("\n\n")[0]
    assert errors in printed
    assert "parity: passed" in printed
    assert "reference: passed" in printed


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE epochs SET test_loss = test_loss * (1 + 1e-7) WHERE epoch = 415 AND model = 'paddle'",
        "UPDATE epochs SET train_loss = train_loss + 1e-5 WHERE epoch = 1000 AND model = 'paddle'",
        "DELETE FROM epochs WHERE epoch = 4321",
    ],
)
def test_a_tampered_history_fails_its_integrity(
    default_run: tuple[Path, str], tmp_path: Path, change: str
) -> None:
    copy = shutil.copy(default_run[0], tmp_path / "copy.db")
    with sqlite_file(copy) as connection:
        connection.execute(change)
    with Store(f"sqlite:///{copy}") as store:
        (verdict,) = verify(store, store.run(1))
    assert (verdict.kind, verdict.passed) == ("integrity", False)


def test_the_stored_run_stays_small(default_run: tuple[Path, str]) -> None:
    """220 bytes a row: 149 for the 13 weights, 32 for four doubles; the rest is B-tree overhead."""
    assert default_run[0].stat().st_size / (2 * DEFAULT_EPOCHS) < 245
