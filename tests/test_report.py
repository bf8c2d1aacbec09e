"""The report holds what is stored and needs nothing from outside. How it looks: tests/browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from db.schema import VerdictRow
from db.store import Store
from job.cli import run
from job.report.sentences import SENTENCES, convergence, overfitting, parity
from tests.samples import dataset_row, history

Output = pytest.CaptureFixture[str]


@pytest.fixture
def filled(store: Store) -> Store:
    row = dataset_row(name="<made> & so.csv")
    writer = store.start_run(row, epochs=20, learning_rate=0.1, seed=0, environment={"cpu": "<fast>"})
    for model in ("paddle", "python"):
        writer.append(model, history(20))
    writer.finish("completed")
    for passed in (False, True):
        store.add_verdict(
            VerdictRow(run_id=1, kind="parity", passed=passed, tolerance=0.0, detail=f"was {passed}")
        )
    return store


def report(store: Store, *words: str) -> int:
    return run(["report", *words, "--database-url", store.url.render_as_string(hide_password=False)])


def test_the_page_has_verdict_answers_figures_and_environment(filled: Store, tmp_path: Path) -> None:
    assert report(filled, "1", "-o", str(tmp_path / "sub/report.html")) == 0
    page = (tmp_path / "sub/report.html").read_text()
    assert "was True" in page
    assert "was False" not in page, "only the newest verdict of a kind counts"
    assert page.index("Verdicts") < page.index("Answers") < page.index("Figures") < page.index("Environment")
    for name in SENTENCES:
        assert f'id="{name}"' in page
    assert page.count("data:image/svg+xml;base64,") == 5
    assert "Without the figure predictions: the data file of run 1" in page
    assert "20 of paddle, 20 of python" in page
    assert "&lt;made&gt; &amp; so.csv" in page
    assert "<made>" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "<script" not in page


def test_a_run_without_epochs_has_no_report(store: Store, capsys: Output) -> None:
    store.start_run(dataset_row(), epochs=20, learning_rate=0.1, seed=0, environment={})
    assert report(store, "1") == 2
    assert "run 1 has no epochs yet" in capsys.readouterr().err
    assert not Path("results").exists()


def test_sentences_say_what_the_rows_say() -> None:
    same = {"quantity": "bias", "largest_gap": 0.0, "epoch": 0, "first_epoch": None}
    assert "the same losses and parameters at every epoch" in parity([same])[0]
    far = {"quantity": "CRIM", "largest_gap": 0.5, "epoch": 7, "first_epoch": 3}
    assert "first differ at epoch 3" in parity([far, same])[0]
    assert "0.5, in CRIM at epoch 7." in parity([far, same])[0]
    row = {"model": "paddle", "best_epoch": 9, "last_epoch": 9, "best_test_loss": 0.5}
    assert "no overfitting so far" in overfitting([row])[0]
    risen = row | {"best_epoch": 4, "rise": 0.25, "rise_percent": 50.0}
    risen |= {"train_loss_at_best": 0.4, "last_train_loss": 0.3}
    doubled = risen | {"rise_percent": 110.4, "last_train_loss": 1.5e38}
    assert "(110 %)" in overfitting([doubled])[0]
    assert "to 1.5e+38" in overfitting([doubled])[0]
    assert "best at epoch 4 (0.5) and has risen by 0.25 (50 %)" in overfitting([risen])[0]
    done = {"model": "paddle", "final_train_loss": 0.5, "within_1_percent": 3, "within_0_1_percent": 8}
    assert "the optimum is not known" in convergence([done | {"optimum": None}])[0]
    known = done | {"optimum": 0.4, "above_optimum": 0.1, "above_optimum_percent": 25.0}
    assert "0.1 (25 %) above the least-squares optimum of 0.4000000" in convergence([known])[0]
