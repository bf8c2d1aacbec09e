"""The named queries about equal values, zeros, no epochs, and models that stopped at different epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from db.query import named_queries
from db.store import Store
from tests.samples import history
from tests.test_named_queries import EPOCHS, NAMES, made_dataset, made_history, rows, values


def test_overfitting_names_the_first_of_equally_good_epochs(store: Store) -> None:
    writer = store.start_run(made_dataset(), epochs=9, learning_rate=0.1, seed=0, environment={})
    made = history(9)
    made.test_loss[:] = [4, 3, 1, 2, 1, 3, 1, 2, 2]
    writer.append("paddle", made)
    *_, row = rows(store, "overfitting", store.run(writer.run_id))
    assert (row["from_epoch"], row["rise"], row["rise_percent"]) == (2, 1, 100)
    assert row["from_train_loss"] == made.train_loss[2]


@pytest.mark.parametrize(("paddle", "python"), [(90, 70), (70, 90), (90, 0), (0, 90)])
def test_of_models_that_stopped_at_different_epochs_each_has_its_own_end(
    store: Store, paddle: int, python: int
) -> None:
    writer = store.start_run(made_dataset(), epochs=EPOCHS, learning_rate=0.1, seed=9, environment={})
    trained = {}
    for model, epochs in (("paddle", paddle), ("python", python)):
        if epochs:
            trained[model] = made_history(len(model) + epochs % 40)[:epochs]
            writer.append(model, trained[model])
    run = store.run(writer.run_id)

    def answered(name: str, *columns: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return [
            tuple(row[column] for column in ("model", *columns))
            for row in rows(store, name, run, **parameters)
        ]

    ends = {model: len(own) - 1 for model, own in trained.items()}
    last = [(model, ends[model], float(own.train_loss[-1])) for model, own in trained.items()]
    assert answered("convergence", "last_epoch", "final_train_loss") == last
    ended = answered("overfitting", "to_epoch", "to_train_loss", "what")
    assert [row[:3] for row in ended if row[3] == "best to last"] == last
    whole = [row for row in rows(store, "runs-by-final-loss", None) if row["run"] == run.id]
    assert sorted((row["model"], row["last_epoch"], row["train_loss"]) for row in whole) == last
    assert sorted(answered("losses", "epoch", "train_loss", every=1000)) == sorted(
        {(model, 0, float(own.train_loss[0])) for model, own in trained.items()} | set(last)
    )
    found = answered("final-parameters", "epoch", "parameter", "value")
    assert [row[:3] for row in found] == [(model, ends[model], name) for model in trained for name in NAMES]
    expected = np.concatenate([values(own)[-1] for own in trained.values()])
    np.testing.assert_allclose([row[3] for row in found], expected, rtol=6e-8)
    for row in rows(store, "turning-points", run, around=5, least=0.5):
        loss, e = trained[row["model"]].train_loss.astype(float), row["epoch"]
        assert row["loss_fall_before"] == pytest.approx((loss[e - 5] - loss[e]) / 5)
        after = None if e + 5 >= len(loss) else pytest.approx((loss[e] - loss[e + 5]) / 5)
        assert row["loss_fall_after"] == after


def test_a_loss_that_is_just_within_the_bounds_counts(store: Store) -> None:
    for final, column in ((100, "within_1_percent"), (1000, "within_0_1_percent")):
        writer = store.start_run(made_dataset(), epochs=5, learning_rate=0.1, seed=0, environment={})
        made = history(5)
        made.train_loss[:] = [final + 2, final + 1.125, final - 1, final + 1, final]
        writer.append("python", made)
        (row,) = rows(store, "convergence", store.run(writer.run_id))
        assert row[column] == 2


def test_a_loss_below_zero_is_within_the_bounds_on_both_sides(store: Store) -> None:
    writer = store.start_run(made_dataset(), epochs=5, learning_rate=0.1, seed=0, environment={})
    made = history(5)
    made.train_loss[:] = [-90, -99.25, -100.75, -100.0625, -100]
    writer.append("python", made)
    (row,) = rows(store, "convergence", store.run(writer.run_id))
    assert (row["within_1_percent"], row["within_0_1_percent"]) == (1, 3)


def test_a_parameter_of_zero_has_no_sign(store: Store) -> None:
    writer = store.start_run(made_dataset(), epochs=1, learning_rate=0.1, seed=0, environment={})
    made = history(1)
    made.parameters[0] = [0, 1, -1, -0.0]
    writer.append("python", made)
    found = rows(store, "final-parameters", store.run(writer.run_id))
    assert [row["sign"] for row in found] == ["0", "+", "-", "0"]


def test_of_a_loss_of_zero_nothing_is_a_percentage(store: Store) -> None:
    writer = store.start_run(made_dataset(), epochs=3, learning_rate=0.1, seed=0, environment={})
    made = history(3)
    made.test_loss[:] = [2, 0, 1]
    writer.append("python", made)
    run = store.run(writer.run_id)
    *_, row = rows(store, "overfitting", run)
    assert (row["from_test_loss"], row["rise"], row["rise_percent"]) == (0, 1, None)
    (row,) = rows(store, "convergence", run, optimum=0.0)
    assert (row["above_optimum"], row["above_optimum_percent"]) == (made.train_loss[2], None)


def test_a_run_without_epochs_has_empty_answers(store: Store) -> None:
    run = store.run(store.start_run(made_dataset(), epochs=1, learning_rate=1, seed=0, environment={}).run_id)
    for query in named_queries():
        if "name" in query.parameters:
            continue  # about sweeps: it needs a name
        assert rows(store, query.name, run) == []
