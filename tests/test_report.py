"""The report shows what is stored and needs no other files. Its looks: tests/browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.model_source import ModelSource
from db.schema import VerdictRow
from db.store import Store
from job.cli import run
from job.data.dataset import load
from job.html import cell, unbroken
from job.plots.subject import Subject, read_subject
from job.report import drift, models_alike, newest_verdicts, outcome, page
from job.report.sentences import (
    SENTENCES,
    convergence,
    final_parameters,
    overfitting,
    parity,
    sections,
    sentences_of,
    turning_points,
)
from job.verdicts.drift import compare
from tests.samples import dataset_row, execute, histories, history, regression, run_row

Output = pytest.CaptureFixture[str]


@pytest.fixture
def filled(store: Store) -> Store:
    row = dataset_row(name="<made> & so.csv")
    writer = store.start_run(row, epochs=20, learning_rate=0.1, seed=0, environment={"cpu": "<fast>"})
    for model, own in histories(20).items():
        writer.append(model, own)
    writer.finish("completed")
    for passed in (False, True):
        store.add_verdict(
            VerdictRow(run_id=1, kind="parity", passed=passed, tolerance=0.0, detail=f"was {passed}")
        )
    return store


def report(store: Store, *words: str) -> int:
    return run(["report", *words, "--database-url", store.url.render_as_string(hide_password=False)])


@pytest.mark.slow
def test_the_page_has_verdict_answers_figures_and_environment(filled: Store, tmp_path: Path) -> None:
    assert report(filled, "1", "-o", str(tmp_path / "sub/report.html")) == 0
    page = (tmp_path / "sub/report.html").read_text()
    assert "was True" in page
    assert "was False" not in page, "only the newest verdict of a kind counts"
    parts = [f"{part}</h2>" for part in ("Verdicts", "Answers", "Figures", "Environment of the run")]
    order = [page.index(each) for each in ("Outcome</h2>", "train</td>", "<nav", *parts)]
    assert order == sorted(order)
    for name in SENTENCES:
        assert f'id="{name}"' in page
    assert page.count("data:image/svg+xml;base64,") == 5
    assert "Without the figure predictions: the data file of run 1" in page
    assert "20 of paddle, 20 of python" in page
    assert "&lt;made&gt; &amp; so.csv" in page
    assert "<made>" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<script" not in page


def test_a_run_without_epochs_has_no_report(store: Store, capsys: Output) -> None:
    store.start_run(dataset_row(), epochs=20, learning_rate=0.1, seed=0, environment={})
    assert report(store, "1") == 2
    assert "run 1 has no epochs yet" in capsys.readouterr().err
    assert not Path("results").exists()


def test_failed_verdicts_come_first_and_of_each_kind_the_newest() -> None:
    made = [
        VerdictRow(id=number, kind=kind, against_run_id=against, passed=passed)
        for number, (kind, against, passed) in enumerate(
            [
                ("parity", None, False),
                ("parity", None, True),
                ("drift", 7, True),
                ("reference", None, False),
                ("drift", 8, False),
                ("drift", 7, True),
            ]
        )
    ]
    assert [verdict.id for verdict in newest_verdicts(made)] == [3, 4, 1, 5]


def test_the_page_tells_failed_from_passed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("job.report.draw", lambda *_: [])
    writer = store.start_run(dataset_row(), epochs=20, learning_rate=0.1, seed=0, environment={})
    writer.append("paddle", histories(20)["paddle"])
    for kind, passed in (("parity", True), ("drift", False)):
        store.add_verdict(VerdictRow(run_id=1, kind=kind, passed=passed, tolerance=0.0, detail=f"of {kind}"))
    text = page(store, store.run(1))
    outcome = text[text.index('<section id="outcome">') :].partition("</section>")[0]
    assert '<p class="verdict failed"><b>FAILED</b><span>drift;' in outcome
    assert "passed" not in outcome
    drift, parity = (
        re.search(rf'class="verdict (\w+)"><b>{kind}:\s+(\w+)', text) for kind in ("drift", "parity")
    )
    assert drift
    assert parity
    assert (drift.groups(), parity.groups()) == (("failed", "FAILED"), ("passed", "passed"))
    assert drift.start() < parity.start()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_page_has_what_the_run_was_made_of_and_lacks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.report.draw", lambda *_: [])
    environment = {"cpu": "<fast>", "threads": {"x": 1}, "packages": {"numpy": "2.1"}}
    for epochs in (20, 12):  # the second has the bits of the first, as far as it goes
        writer = store.start_run(dataset_row(), epochs=20, learning_rate=0.1, seed=0, environment=environment)
        for model, own in histories(20).items():
            writer.append(model, own[:epochs])
        writer.finish("completed")
    compare(store, store.run(2), store.run(1))
    execute(
        store,
        "UPDATE runs SET created_at = '2026-01-02 03:04:05.000', finished_at = '2026-01-02 04:04:05.000'",
        "UPDATE verdicts SET created_at = '2026-01-02 05:04:05.000'",
    )
    text = page(store, store.run(2))
    moments = re.findall(r"2026-01-02 (\d+):04:05 UTC", text)
    assert moments == ["03", "04", "05"], "started, ended, judged"
    assert "24\ntraining rows and 6 test rows;" in text
    digests = re.findall(r"digest of (\w+):\s<code>(\w+)</code>", text)
    assert dict(digests) == store.run(2).digests
    assert len({digest for _, digest in digests}) == 2
    assert "<p>python: run 2 lacks 8 epochs, the first of them 12</p>" in text
    facts = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text, re.DOTALL)
    assert dict(facts[:2]) == {"cpu": "&lt;fast&gt;", "threads x": "1"}
    assert [name for name, _ in facts[2:]] == ["packages", "dataset sha256"]
    assert "numpy 2.1" in facts[2][1]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_drift_is_that_of_the_newest_comparison_to_its_tolerance(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.report.draw", lambda *_: [])
    for seed in range(3):
        writer = store.start_run(dataset_row(), epochs=9, learning_rate=0.1, seed=0, environment={})
        writer.append("paddle", history(9, seed=seed))
        writer.finish("completed")
    compare(store, store.run(3), store.run(1))
    compare(store, store.run(3), store.run(2), 100.0)
    found = drift(store, read_subject(store, store.run(3)), None)
    assert found is not None
    assert found.comparison is not None
    verdict = found.comparison.verdict
    assert (verdict.against_run_id, verdict.tolerance, verdict.passed) == (2, 100.0, True)


def test_models_that_differ_at_one_epoch_are_not_alike() -> None:
    own, other = history(9), history(9)
    row = regression(run_row(), dataset_row())
    assert models_alike(Subject(row, {"paddle": own, "python": other}, None)) == ["python"]
    other.parameters[4, 1] += 0.5
    assert models_alike(Subject(row, {"paddle": own, "python": other}, None)) == []


def test_the_outcome_has_the_last_losses_and_the_errors_and_names_models_with_the_same_together() -> None:
    own, other = history(5), history(5, seed=3)
    row = regression(run_row(), load().row())
    found = outcome(Subject(row, {"paddle": own, "python": other}, None))
    assert found.columns == ["", "rows", "loss", "RMSE", "R2"]
    assert found.groups == {
        name: [
            [part, f"{loss[-1]:.6g}", f"{45 * float(loss[-1]) ** 0.5:#.5g}", ""]
            for part, loss in (("train", each.train_loss), ("test", each.test_loss))
        ]
        for name, each in (("paddle", own), ("python", other))
    }
    assert "housing.data, which is not found" in found.note
    known = outcome(Subject(row, {"paddle": own, "python": own}, load()))
    assert list(known.groups) == ["paddle and python", "training mean"]
    assert [line[1] for line in known.groups["training mean"]] == ["", ""]
    row.models[0].source = "mine.py:Mine"
    assert outcome(Subject(row, {"paddle": own}, load())).columns == ["", "rows", "loss"]


def test_numbers_are_not_broken_at_a_hyphen_and_text_is_escaped() -> None:
    assert unbroken("a-b <4.8e-07> is below 2e-06, -1") == (
        'a-b <span class="n">&lt;4.8e-07&gt;</span> is below <span class="n">2e-06,</span> '
        '<span class="n">-1</span>'
    )
    assert unbroken("a" * 20 + "-" + "1" * 20) == "a" * 20 + "-" + "1" * 20  # would be wider than a phone


@pytest.mark.slow
def test_a_drift_has_its_tables_and_its_figure(store: Store) -> None:
    other = history(20)
    other.test_loss[7] += 0.5
    for own, cpu in ((history(20), "old"), (other, "<new>")):
        writer = store.start_run(
            dataset_row(),
            epochs=20,
            learning_rate=0.1,
            seed=0,
            environment={"cpu": cpu},
            models=[ModelSource("paddle", "paddle")],
        )
        writer.append("paddle", own)
        writer.finish("completed")
    assert not drift(store, read_subject(store, store.run(2)), None)
    compare(store, store.run(2), store.run(1))
    text = page(store, store.run(2))
    assert re.search(r"against run 1: <a href=\"#drift\">", text)
    section = text[text.index('<section id="drift">') :].partition("</section>")[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", section)
    gap = float(other.test_loss[7]) - float(history(20).test_loss[7])
    bits = [int(own.test_loss.view(np.int32)[7]) for own in (other, history(20))]
    units = abs(bits[0] - bits[1])
    assert cells[:5] == ["paddle", "7", f"{gap:.2g}", "test loss, epoch 7", f"{units:,}"]
    assert cells[5:] == ["cpu", "old", "&lt;new&gt;"]
    assert section.count("data:image/svg+xml") == 1
    execute(store, "DELETE FROM runs WHERE id = 1")
    gone = drift(store, read_subject(store, store.run(2)), None)
    assert gone == (None, "the other run was deleted", None)
    assert "The two runs cannot be compared again: the other run was deleted." in page(store, store.run(2))


def test_cells_are_short_and_grouped() -> None:
    assert [cell(value) for value in (0.123456789, 12345, None, "x")] == ["0.123457", "12,345", "", "x"]


def test_the_answers_rest_on_the_stored_numbers(filled: Store) -> None:
    said = {each.name: each for each in sections(filled, filled.run(1))}
    assert list(said) == list(SENTENCES)
    own = histories(20)
    assert said["losses"].sentences == [
        f"{model}: from epoch 0 to 19 the train loss went from {each.train_loss[0]:.5g} to "
        f"{each.train_loss[-1]:.5g} and the test loss from {each.test_loss[0]:.5g} to "
        f"{each.test_loss[-1]:.5g}."
        for model, each in own.items()
    ]
    assert [row[0] for row in said["losses"].rows[::2]] == [f"{epoch}" for epoch in [*range(0, 20, 2), 19]]
    expected: dict[str, list[str]] = {}
    for model, each in own.items():
        up = [f"x{i}" for i in range(3) if each.parameters[-1, i] > 0]
        down = [f"x{i}" for i in range(3) if each.parameters[-1, i] < 0]
        rises = f"rises with {', '.join(up) or 'nothing'} and falls with {', '.join(down) or 'nothing'}."
        expected.setdefault(rises, []).append(model)
    assert said["final-parameters"].sentences == [
        f"{' and '.join(models)}: the prediction {rises}" for rises, models in expected.items()
    ]
    assert "first differ at epoch 0;" in said["parity"].sentences[0]


def test_sentences_say_what_the_rows_say() -> None:
    assert parity([]) == ["No two models have an epoch in common yet."]
    pair = {"model": "python", "against_model": "paddle"}
    same = pair | {"quantity": "bias", "largest_gap": 0.0, "epoch": 0, "first_epoch": None}
    assert "the same losses and parameters at every epoch" in parity([same])[0]
    far = pair | {"quantity": "CRIM", "largest_gap": 0.5, "epoch": 7, "first_epoch": 1300}
    near = pair | {"quantity": "bias", "largest_gap": 0.25, "epoch": 8, "first_epoch": 1200}
    (words,) = parity([far, near, same])
    assert words.startswith(
        "paddle and python first differ at epoch 1,200; they are never further apart than 0.5, in CRIM at "
        "epoch 7."
    )
    done = {"model": "paddle", "final_train_loss": 0.5, "within_1_percent": 3, "within_0_1_percent": 8}
    begin = "paddle: the train loss came within 1 % of its final 0.5 at epoch 3 and within 0.1 % at epoch 8"
    known = done | {"optimum": 0.4, "above_optimum": 0.1, "above_optimum_percent": 25.0}
    assert convergence([done | {"optimum": None}, known]) == [
        f"{begin}.",
        begin + "; that is 0.1 (25 %) above the least-squares optimum of 0.4000000.",
    ]
    missing = "The data file is not found, so the optimum is not known."
    assert sentences_of("convergence", [done | {"optimum": None}], run_row()) == [f"{begin}.", missing]
    assert missing not in sentences_of("convergence", [known], run_row())


def rise(model: str, what: str, epochs: tuple[int, int], rise: float = 0, **more: Any) -> dict[str, Any]:
    names = ("parameters", "rows_for_half", "test_rows")
    row = dict.fromkeys(names) | {
        "model": model,
        "what": what,
        "from_epoch": epochs[0],
        "to_epoch": epochs[1],
    }
    row |= {"from_test_loss": 0.5, "to_test_loss": 0.5 + rise, "rise": rise, "rise_percent": 200 * rise}
    return row | {"from_train_loss": 0.4, "to_train_loss": 0.3} | more


def test_a_run_that_ends_at_its_best_does_not_end_overfitted() -> None:
    end = "at the last epoch (9) the test loss is the lowest of all, 0.5: no overfitting at the end."
    rows = [rise("paddle", "best to last", (9, 9)), rise("python", "best to last", (9, 9))]
    assert overfitting(rows[:1]) == [f"paddle: {end}"]
    assert overfitting(rows) == [f"paddle and python: {end}"]


def test_every_stretch_is_told_of_and_what_it_is_made_of() -> None:
    behind = {"parameters": ["B", "ZN"], "rows_for_half": 12, "test_rows": [20, 8]}
    rows = [
        *(rise("a", "stretch", (10 * i, 10 * i + 5), size) for i, size in enumerate((0.1, 0.4, 0.01, 0.3))),
        rise("a", "best to last", (4, 99), 0.25),
        rise("b", "stretch", (2, 3), 1.5, **behind),
        rise("b", "best to last", (3, 99), 1.5e38),
    ]
    train = "while the train loss falls from 0.4 to 0.3."
    assert overfitting(rows) == [
        f"a: overfitting from epoch 0 to 5: the test loss rises from 0.5 to 0.6 (by 20 %) {train}",
        f"a: overfitting from epoch 10 to 15: the test loss rises from 0.5 to 0.9 (by 80 %) {train}",
        f"a: overfitting from epoch 30 to 35: the test loss rises from 0.5 to 0.8 (by 60 %) {train}",
        "a: 1 more stretch with a smaller rise.",
        "a: the test loss was best at epoch 4 (0.5) and has risen by 0.25 (50 %) up to the last epoch, 99, "
        "while the train loss went from 0.4 to 0.3.",
        "b: overfitting from epoch 2 to 3: the test loss rises from 0.5 to 2 (by 300 %) "
        f"{train} B, ZN turn in these epochs. Half of the rise comes from 12 test rows, "
        "most of all from the rows 20, 8 of the test set.",
        "b: the test loss was best at epoch 3 (0.5) and has risen by 1.5e+38 (3e+40 %) up to the last epoch, "
        "99, while the train loss went from 0.4 to 0.3.",
    ]


def test_turns_are_listed_by_model_with_how_the_loss_bends() -> None:
    assert turning_points([]) == ["No parameter turns round by more than the least distance."]
    rows = [
        {
            "model": model,
            "parameter": name,
            "epoch": epoch,
            "loss_fall_before": before,
            "loss_fall_after": after,
            "test_rises_from": 7 if epoch < 90 else None,
            "predicted_epoch": on_path,
            "short_half_life": 108.4,
            "long_half_life": 2444.0,
        }
        for model, name, epoch, before, after, on_path in [
            ("paddle", "AGE", 1200, 4.0, 2.0, 1203),
            ("python", "TAX", 7, 2.0, -3.0, 7),
            ("paddle", "RAD", 80, 0.0, 1.0, None),
            ("python", "DIS", 90, 1.0, None, 89),
        ]
    ]
    assert turning_points(rows) == [
        "paddle: AGE at 1,200, RAD at 80.",
        "paddle: RAD turn while the test loss rises and the train loss falls.",
        "paddle: the exact path has 1 of these turns, 0 of them at the very epoch, the others up to 3 away.",
        "python: TAX at 7, DIS at 90.",
        "python: TAX turn while the test loss rises and the train loss falls.",
        "python: the exact path has 2 of these turns, 1 of them at the very epoch, the others up to 1 away.",
        "A parameter turns when the faster of two modes that move it in opposite directions has faded; the "
        "table has their half-lives in epochs.",
        "After a turn the train loss falls -1.50 to 0.50 times as fast as before: 1 is no bend at all, and "
        "below 0 the loss turned as well.",
    ]
    assert turning_points(rows[3:]) == ["python: DIS at 90.", *turning_points(rows[3:])[1:]]


def test_of_many_features_the_first_20_are_named() -> None:
    rows = [{"model": "m", "parameter": f"x{i}", "sign": "+"} for i in range(22)]
    (sentence,) = final_parameters([*rows, {"model": "m", "parameter": "bias", "sign": "+"}])
    assert sentence.endswith(", x18, x19 and 2 more and falls with nothing.")
