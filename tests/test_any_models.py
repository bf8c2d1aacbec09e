"""Runs of other models than the default pair: their names, order and parameters come from the store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from db import scheduled_runs
from db.errors import LeaseHeldError
from db.history import History, State
from db.model_source import ModelSource
from db.query import run_query
from db.specification import Specification
from db.store import Store
from job.cli import run
from job.cli.summary import print_losses
from job.data.dataset import Dataset, load
from job.errors import ModelError
from job.models import reference
from job.models.base import Model
from job.models.python import PythonModel
from job.named_query import run_named_query
from job.plots.draw import all_figures, draw, drawable
from job.plots.subject import read_subject
from job.report import page
from job.report.sentences import sections
from job.training import Settings, start, start_or_resume, train_and_judge
from job.verdicts.drift import specification_changes
from job.verdicts.verify import verify
from tests.samples import dataset_row, history, write_csv
from tests.samples import start as start_run

Output = pytest.CaptureFixture[str]
NAMES = ["w.0", "w.1", "momentum"]
THREE = [ModelSource("c", "c.py:C", "c" * 64), ModelSource("a", "a"), ModelSource("b", "b.py:B", "b" * 64)]


def three(epochs: int = 30) -> dict[str, History]:
    """Three histories of three parameters; `b` is far from the others at epoch 7."""
    made = {model: history(epochs, 2) for model in ("c", "a", "b")}
    made["a"].parameters[11, 2] = np.nextafter(made["a"].parameters[11, 2], np.float32(9))
    made["b"].parameters[7, 1] += 1
    made["c"].train_loss[:] *= -1
    made["a"].train_loss[:] *= -1
    made["b"].train_loss[:] *= -1
    return made


@pytest.fixture
def filled(store: Store) -> Store:
    writer = store.start_run(
        dataset_row(),
        epochs=30,
        learning_rate=0.1,
        seed=0,
        environment={},
        models=THREE,
        parameters=NAMES,
    )
    for model in ("b", "c", "a"):
        writer.append(model, three()[model])
    writer.finish("completed")
    return store


def rows(store: Store, name: str, **parameters: Any) -> list[dict[str, Any]]:
    found = run_named_query(store, name, store.run(1), parameters, limit=None)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_each_further_model_has_its_parity_with_the_first(filled: Store) -> None:
    _, a, b = verify(filled, filled.run(1))
    assert [(v.model, v.against_model, v.passed) for v in (a, b)] == [("a", "c", True), ("b", "c", False)]
    assert "c and a agree over 30 epochs: first differing epoch 11" in a.detail
    assert "c and b disagree" in b.detail
    assert "(w.1, epoch 7:" in b.detail
    assert b.first_epoch == 7
    assert b.worst == pytest.approx(1)
    assert [v.id for v in verify(filled, filled.run(1))[1:]] == [a.id, b.id]


def test_the_queries_go_by_the_stored_names(filled: Store) -> None:
    made = three()
    found = rows(filled, "parity")
    for model in ("a", "b"):
        own = [row for row in found if row["model"] == model]
        assert {row["against_model"] for row in own} == {"c"}
        gap = np.abs(made[model].parameters.astype(float) - made["c"].parameters)
        expected = {"train loss": 0.0, "test loss": 0.0} | dict(zip(NAMES, gap.max(axis=0), strict=True))
        assert {row["quantity"]: row["largest_gap"] for row in own} == expected
        assert own[0]["epoch"] == {"a": 11, "b": 7}[model]
    final = rows(filled, "final-parameters")
    assert [(row["model"], row["parameter"]) for row in final] == [(m, n) for m in "cab" for n in NAMES]
    np.testing.assert_allclose(
        [row["value"] for row in final], [v for m in "cab" for v in made[m].parameters[-1]], rtol=6e-8
    )
    assert {row["in_original_units"] for row in final} == {None}
    assert {row["parameter"] for row in rows(filled, "turning-points", least=0.5, around=2)} <= {*NAMES}
    assert {row["model"] for row in rows(filled, "turning-points", least=0.5, around=2)} == {*"abc"}
    assert {row["optimum"] for row in rows(filled, "convergence")} == {None}


def test_the_views_have_the_stored_names(filled: Store) -> None:
    (found,) = run_query(
        filled.url, "SELECT max(parameter_gap) FROM parity_history WHERE run_id = 1 AND model = 'b'"
    ).rows
    assert found[0] == pytest.approx(1, abs=1e-6)
    pairs = run_query(
        filled.url, "SELECT DISTINCT model, against_model FROM parity_history ORDER BY model"
    ).rows
    assert [tuple(row) for row in pairs] == [("a", "c"), ("b", "c")]
    value = "SELECT value FROM parameter_history WHERE model = 'b' AND parameter = 'momentum' AND epoch = 7"
    assert run_query(filled.url, value).rows[0][0] == pytest.approx(three()["b"].parameters[7, 2], rel=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"])
def test_figures_report_and_export_take_any_number_of_models(
    filled: Store, tmp_path: Path, capsys: Output
) -> None:
    verify(filled, filled.run(1))
    subject = read_subject(filled, filled.run(1))
    assert list(subject.histories) == ["c", "a", "b"]
    names = list(all_figures([subject]))
    assert names == [
        *("losses", "parameters-c", "parameters-a", "parameters-b", "gap", "overfitting", "predictions")
    ]
    assert drawable("predictions", [subject]) is not None
    assert all(drawable(name, [subject]) is None for name in names[:-1])
    assert len(list(draw([subject], names[:-1], ["svg"]))) == 6
    _, _, largest = all_figures([subject])["gap"]([subject]).axes  # a panel for each quantity
    assert largest.get_title() == "Gap between two models of a run: parameters (largest)"
    a, _, b, _, _ = (np.nanmax(np.asarray(line.get_ydata())) for line in largest.lines)  # pale, strong, limit
    assert [a, b] == pytest.approx([0, 1], abs=1e-6)
    (axis,) = all_figures([subject])["losses"]([subject]).axes
    assert (axis.get_yscale(), axis.get_ylabel()) == ("linear", "loss")  # the train losses are negative
    assert [float(np.asarray(line.get_ydata())[3]) for line in axis.lines[:3]] == pytest.approx(
        [float(history.train_loss[3]) for history in three().values()]
    )
    content = page(filled, filled.run(1))
    assert "c and b first differ at epoch 7" in content
    assert "What the b model learned" in content
    url = filled.url.render_as_string(hide_password=False)
    assert run(["export", "1", "-o", str(tmp_path), "--database-url", url]) == 0
    table = pd.read_csv(tmp_path / "run-1.csv")
    assert table.model.drop_duplicates().tolist() == ["c", "a", "b"]
    assert table.columns[4:].tolist() == [*(f"parameter_{name}" for name in NAMES), "trained_at"]
    capsys.readouterr()
    assert run(["show", "1", "--json", "--database-url", url]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["parameters"] == NAMES
    assert shown["models"][0] == {
        "name": "c",
        "source": "c.py:C",
        "source_sha256": "c" * 64,
        "digest": filled.run(1).models[0].digest,
    }
    judged = [(v["kind"], v["model"], v["against_model"]) for v in shown["verdicts"]]
    assert judged == [("integrity", None, None), ("parity", "a", "c"), ("parity", "b", "c")]


class Twice(PythonModel):
    """Steps of twice the size."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.learning_rate = self.learning_rate * 2


class Alone(Model):
    """One parameter, which is halved."""

    @classmethod
    def parameter_names(cls, dataset: Dataset) -> tuple[str, ...]:
        return ("x",)

    @classmethod
    def initial(cls, dataset: Dataset, seed: int) -> State:
        return State(np.full(1, seed + 1, np.float32), 0)

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        self.x, self.epoch = state.parameters[0], state.epoch

    def advance(self, epochs: int) -> History:
        made = History.empty(epochs, 1, self.epoch)
        for i in range(epochs):
            made.train_loss[i] = made.test_loss[i] = -self.x
            self.x = self.x / 2
            made.parameters[i], made.trained_at[i] = self.x, 1.7e9
        self.epoch += epochs
        return made


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    for model in (Twice, Alone):
        place = f"{__name__}:{model.__name__}"
        monkeypatch.setitem(reference.BUILT_IN, model.__name__.lower(), (place, ""))
    return load(write_csv(tmp_path / "made.csv"))


def test_a_run_is_trained_judged_and_resumed_with_its_own_models(store: Store, dataset: Dataset) -> None:
    settings = Settings(dataset, 20, 0.05, models=("python", "twice"))
    done = train_and_judge(start(store, settings), dataset)
    _, verdict, *exact = done.verdicts
    assert (verdict.model, verdict.against_model, verdict.passed) == ("twice", "python", False)
    judged = [(each.kind, each.model, each.passed) for each in exact]
    assert judged == [("exact", "python", True), ("exact", "twice", False)]
    assert store.progress(1) == {"python": 20, "twice": 20}
    start(store, settings).finish("interrupted")
    again = start_or_resume(store, settings)
    assert again.run_id == 2
    train_and_judge(again, dataset)
    for model in ("python", "twice"):
        assert store.history(2, model).same_bits(store.history(1, model))


def test_one_model_alone_has_no_parity(store: Store, dataset: Dataset) -> None:
    done = train_and_judge(start(store, Settings(dataset, 9, models=("alone",))), dataset)
    assert (done.outcome.status, [v.kind for v in done.verdicts]) == ("completed", ["integrity"])
    assert store.history(1, "alone").parameters[:, 0].tolist() == [0.5**n for n in range(1, 10)]
    subject = read_subject(store, store.run(1))
    assert str(drawable("gap", [subject])).startswith("run 1 has one model only, and no exact path: ")
    assert rows(store, "parity") == []
    assert "parity" not in {each.name for each in sections(store, store.run(1))}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_of_a_run_that_is_no_linear_regression_nothing_is_said_that_holds_for_one(
    store: Store, dataset: Dataset, capsys: Output
) -> None:
    train_and_judge(start(store, Settings(dataset, 9, models=("alone",))), dataset)
    subject = read_subject(store, store.run(1))
    assert subject.dataset is not None
    assert drawable("predictions", [subject]) == "run 1 is no linear regression of its features"
    said = {each.name: each for each in sections(store, store.run(1))}
    assert said["final-parameters"].sentences == []
    assert len(said["final-parameters"].rows) == 1
    assert "optimum" not in " ".join(said["convergence"].sentences)
    print_losses(store, store.run(1))
    assert capsys.readouterr().out.startswith("Run 1: loss before the epoch's update\n")


def test_models_that_cannot_be_compared_are_refused_before_a_run_starts(
    store: Store, dataset: Dataset
) -> None:
    for names, why in (
        (("python", "alone"), "the models python and alone have other parameters"),
        (("python", "python"), "two models are named python"),
        ((), "name at least one model"),
        (("nobody",), "there is no model 'nobody'; there are paddle, python"),
    ):
        with pytest.raises(ModelError, match=why):
            start(store, Settings(dataset, models=names))
    assert store.runs() == []


def test_only_the_models_of_a_run_are_loaded() -> None:
    code = (
        "import sys; from job.models.loading import load_models; load_models(['python']);"
        "print('paddle' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "others",
    [
        [ModelSource("a", "a")],
        [ModelSource("b", "b"), ModelSource("a", "a")],
        [ModelSource("a", "a"), ModelSource("b", "b"), ModelSource("c", "c")],
        [ModelSource("a", "a"), ModelSource("b", "b", "0" * 64)],
        [ModelSource("a", "a"), ModelSource("b", "b.py:B")],
        [ModelSource("a", "a"), ModelSource("c", "b")],
    ],
)
def test_runs_of_other_models_are_another_specification(store: Store, others: list[ModelSource]) -> None:
    settings: dict[str, Any] = {"epochs": 3, "learning_rate": 0.1, "seed": 0, "environment": {}}
    pair = [ModelSource("a", "a"), ModelSource("b", "b")]

    def nightly(sources: list[ModelSource]) -> int:
        writer = store.start_run(dataset_row(), trigger="nightly", models=sources, **settings)
        writer.finish("completed")
        return writer.run_id

    first, other, second = nightly(pair), nightly(others), nightly(pair)
    assert Specification.of(store.run(first)) == Specification.of(store.run(second))
    assert Specification.of(store.run(first)) != Specification.of(store.run(other))
    found = store.all(Specification.of(store.run(other)).runs())
    assert [row.id for row in found] == [other]
    before = scheduled_runs.night_before(store, store.run(second))
    assert before is not None
    assert before.id == first
    assert scheduled_runs.night_before(store, store.run(other)) is None
    (change,) = specification_changes(store.run(other), store.run(first))
    assert change.what == "models"
    for sources in (pair, others):
        store.start_run(dataset_row(), trigger="sweep", sweep="s", models=sources, **settings)
        with pytest.raises(LeaseHeldError, match=r"has run \d+ of these settings already"):
            store.start_run(dataset_row(), trigger="sweep", sweep="s", models=sources, **settings)


def nights_of(store: Store, *sources: str) -> None:
    """A completed nightly run with each of these sources for its second model, all of one file."""
    for source in sources:
        models = [ModelSource("a", "a"), ModelSource("b", source, "0" * 64)]
        start_run(store, trigger="nightly", models=models).finish("completed")


@pytest.mark.parametrize("source", ["/b.py:b", "/b.py:AB", "/b.py:C", "b"])
def test_another_class_of_the_same_model_file_is_another_specification(store: Store, source: str) -> None:
    nights_of(store, "/b.py:B", source)
    assert scheduled_runs.night_before(store, store.run(2)) is None
    assert Specification.of(store.run(1)) != Specification.of(store.run(2))


def test_the_same_model_file_in_another_place_is_the_same_specification(store: Store) -> None:
    nights_of(store, "/here/b.py:B", "/there/b.py:B")
    here, there = store.run(1), store.run(2)
    assert (before := scheduled_runs.night_before(store, there)) is not None
    assert before.id == 1
    assert len({Specification.of(here), Specification.of(there)}) == 1
    assert specification_changes(there, here) == []
    there.seed = 1
    assert [change.what for change in specification_changes(there, here)] == ["seed"]


def test_a_deleted_run_takes_its_models_and_parameters_along(filled: Store) -> None:
    filled.write(lambda session, _: session.execute(text("DELETE FROM runs")))
    for table in ("models", "parameters"):
        assert run_query(filled.url, f"SELECT count(*) FROM {table}").rows[0][0] == 0
